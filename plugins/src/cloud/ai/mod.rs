//! The plugins around language models.

mod llm;
pub(super) mod prompt;
pub(super) mod proxy;
pub(super) mod transformer;

/// What the plugins that talk to a model lack.
const NO_MODEL: &str = "speak the protocols of providers of language models";
/// What the plugins that look at what is said to a model lack.
const NO_PROMPTS: &str = "read and change the prompts in requests to language models";
