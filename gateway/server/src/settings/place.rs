//! Where a value came from, and what was wrong or odd about it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Where a value was given; the later ones win over the earlier.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// Nowhere: it is the key's default.
    Default,
    /// A line of the configuration file, or of a file it names; the first line is 1.
    File { path: Arc<Path>, line: usize },
    /// This environment variable.
    Variable(String),
    /// This option of the command line, without its dashes.
    Argument(String),
}

impl Origin {
    /// Whether a value from here replaces one from `other`. Within one source the later line wins.
    pub(super) fn outranks(&self, other: &Self) -> bool {
        let rank = |origin: &Self| match origin {
            Self::Default => 0,
            Self::File { .. } => 1,
            Self::Variable(_) => 2,
            Self::Argument(_) => 3,
        };
        rank(self) > rank(other)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Argument(name) => write!(f, "--{name}"),
        }
    }
}

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Violation {
    /// Absent when the fault is that something is missing.
    pub(crate) place: Option<Origin>,
    /// One line, in Kong's words where Kong has some. Never a secret.
    pub(crate) text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// Why settings were refused: every broken rule, by place. Shown one a line.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub(crate) struct SettingsErrors(pub(crate) Vec<Violation>);

/// Something an operator should know that does not stop the start, such as a key without effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) place: Origin,
    pub(crate) text: String,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}
