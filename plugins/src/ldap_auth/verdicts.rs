//! [`Verdicts`]: what directories said a short while ago.

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use quick_cache::sync::Cache;

/// What directories said a short while ago. Neither names nor passwords are kept, only a digest of
/// them together with where they were asked for.
pub(super) struct Verdicts(Cache<Question, Verdict>);

/// A digest of what a directory is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question([u8; SHA256_OUTPUT_LEN]);

#[derive(Clone, Copy)]
struct Verdict {
    accepted: bool,
    /// Unix milliseconds.
    until: u64,
}

const REMEMBERED: usize = 10_000;

impl Question {
    /// `directory` tells where is asked.
    pub(super) fn new(directory: &str, name: &str, password: &str) -> Self {
        // Lengths keep apart what would read the same in one row.
        let text = format!(
            "{}:{directory}:{}:{name}:{}:{password}",
            directory.len(),
            name.len(),
            password.len()
        );
        let mut bytes = [0; SHA256_OUTPUT_LEN];
        bytes.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        Self(bytes)
    }

    /// As hexadecimal digits.
    pub(super) fn text(&self) -> String {
        hex::encode(self.0)
    }
}

impl Verdicts {
    pub(super) fn new() -> Self {
        Self(Cache::new(REMEMBERED))
    }

    pub(super) fn get(&self, question: &Question, now_ms: u64) -> Option<bool> {
        let verdict = self.0.get(question)?;
        (now_ms < verdict.until).then_some(verdict.accepted)
    }

    pub(super) fn put(&self, question: Question, accepted: bool, until_ms: u64) {
        self.0.insert(question, Verdict { accepted, until: until_ms });
    }
}
