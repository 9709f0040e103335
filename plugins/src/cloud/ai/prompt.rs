//! `ai-prompt-template`, `ai-prompt-decorator` and `ai-prompt-guard`: look at what is said to a
//! language model.

use gateway_model::schema::{Check, Record, Rule};
use serde::Deserialize;

use super::super::Known;
use super::proxy::Format;

/// `ai-prompt-template` in the list of plugins.
pub(crate) struct Template;

impl Known for Template {
    const NAME: &'static str = "ai-prompt-template";
    const PRIORITY: i32 = 773;
    const MISSING: &'static str = super::NO_PROMPTS;
    type Config = TemplateConfig;
}

/// `ai-prompt-decorator` in the list of plugins.
pub(crate) struct Decorator;

impl Known for Decorator {
    const NAME: &'static str = "ai-prompt-decorator";
    const PRIORITY: i32 = 772;
    const MISSING: &'static str = super::NO_PROMPTS;
    type Config = DecoratorConfig;
}

/// `ai-prompt-guard` in the list of plugins.
pub(crate) struct Guard;

impl Known for Guard {
    const NAME: &'static str = "ai-prompt-guard";
    const PRIORITY: i32 = 771;
    const MISSING: &'static str = super::NO_PROMPTS;
    type Config = GuardConfig;
}

/// Lets clients fill in prompts by name; known, and refused at use
/// (kong/plugins/ai-prompt-template/schema.lua).
#[derive(Deserialize, Record)]
#[expect(dead_code, reason = "known, not carried out")]
pub(crate) struct TemplateConfig {
    /// The prompts.
    templates: Vec<NamedTemplate>,
    /// Whether requests may say something else.
    #[record(default = true)]
    allow_untemplated_requests: bool,
    /// Whether the log tells what the client sent.
    #[record(default = false)]
    log_original_request: bool,
    /// The largest body looked at, bytes.
    #[record(default = 8192, gt(0))]
    max_request_body_size: Option<i64>,
}

/// A prompt with places to fill in.
#[derive(Deserialize, Record)]
#[expect(dead_code, reason = "known, not carried out")]
pub(crate) struct NamedTemplate {
    /// What clients call it.
    name: String,
    /// Its text, `{{name}}` standing for a place.
    template: String,
}

/// Adds to prompts; known, and refused at use
/// (kong/plugins/ai-prompt-decorator/schema.lua).
#[derive(Deserialize, Record)]
#[record(check = Check::AtLeastOneOf(&["prompts.prepend", "prompts.append"]))]
#[expect(dead_code, reason = "known, not carried out")]
pub(crate) struct DecoratorConfig {
    /// What is added.
    prompts: Option<Prompts>,
    /// The largest body looked at, bytes.
    #[record(default = 8192, gt(0))]
    max_request_body_size: Option<i64>,
    /// The form requests come in.
    #[record(default = "openai")]
    llm_format: Option<Format>,
}

/// What is added to prompts.
#[derive(Deserialize, Record)]
#[expect(dead_code, reason = "known, not carried out")]
pub(crate) struct Prompts {
    /// Before what the client says.
    #[record(len_max(15))]
    prepend: Option<Vec<Said>>,
    /// After it.
    #[record(len_max(15))]
    append: Option<Vec<Said>>,
}

/// Something said.
#[derive(Deserialize, Record)]
#[expect(dead_code, reason = "known, not carried out")]
pub(crate) struct Said {
    /// By whom.
    #[record(default = "system")]
    role: Role,
    /// What the message says.
    #[record(len_min(1), len_max(500))]
    content: String,
}

/// Who says something.
#[derive(Deserialize, Record)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    System,
    Assistant,
    User,
}

/// Refuses prompts; known, and refused at use
/// (kong/plugins/ai-prompt-guard/schema.lua).
#[derive(Deserialize, Record)]
#[record(check = Check::AtLeastOneOf(&["allow_patterns", "deny_patterns"]), check = one_way())]
#[expect(dead_code, reason = "known, not carried out")]
pub(crate) struct GuardConfig {
    /// Regular expressions of what may be said.
    #[record(len_max(10), elements(|e| e.len_min(1).len_max(500)))]
    allow_patterns: Option<Vec<String>>,
    /// Regular expressions of what may not be said.
    #[record(len_max(10), elements(|e| e.len_min(1).len_max(500)))]
    deny_patterns: Option<Vec<String>>,
    /// Whether only what was said last is looked at.
    #[record(default = false)]
    allow_all_conversation_history: bool,
    /// The largest body looked at, bytes.
    #[record(default = 8192, gt(0))]
    max_request_body_size: Option<i64>,
    /// Whether what the model said is looked at too.
    #[record(default = false)]
    match_all_roles: bool,
    /// The form requests come in.
    #[record(default = "openai")]
    llm_format: Option<Format>,
}

fn one_way() -> Check {
    Check::conditional(
        "match_all_roles",
        Rule::Eq(true.into()),
        "allow_all_conversation_history",
        Rule::Eq(false.into()),
    )
}
