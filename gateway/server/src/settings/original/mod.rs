//! The files of an EdgeGallery installation: `mepauth.properties` and `config.yaml`.
//!
//! The rules are those of the original programs; where they failed quietly (a value cut at its
//! second `=`, a bad address that switched the whole restriction off, a bad `config.yaml` that was
//! half used), these readers refuse instead.

pub(crate) mod config;
pub(crate) mod properties;

pub(crate) use config::OriginalConfig;
pub(crate) use properties::Properties;

/// Why a file was refused. The text never repeats a secret.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Counted from 1; absent when something is missing.
    pub(crate) line: Option<usize>,
    pub(crate) text: String,
}
