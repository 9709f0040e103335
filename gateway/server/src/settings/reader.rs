//! Reads typed values by key and remembers everything that is wrong, so that an operator is told
//! of all faults at once.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use gateway_model::Secret;

use super::keys::Kind;
use super::listen::{self, Listen};
use super::place::{Notice, Origin, Violation};
use super::scalar::{self, Word};
use super::values::Values;

/// After a violation the default is returned, which is valid, and reading goes on.
pub(super) struct Reader<'a> {
    values: &'a Values,
    pub(super) violations: Vec<Violation>,
    pub(super) notices: Vec<Notice>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        values: &'a Values,
        violations: Vec<Violation>,
        notices: Vec<Notice>,
    ) -> Self {
        Self { values, violations, notices }
    }

    /// Whether the operator set this key.
    pub(super) fn is_given(&self, key: &str) -> bool {
        self.values.get(key).origin != Origin::Default
    }

    /// Notes a broken rule at the place of a key; the text begins with the key's name.
    pub(super) fn refuse(&mut self, key: &str, text: impl Display) {
        let place = match &self.values.get(key).origin {
            Origin::Default => None,
            given => Some(given.clone()),
        };
        self.violations.push(Violation { place, text: text.to_string() });
    }

    /// Notes something odd at the place of a key.
    pub(super) fn note(&mut self, key: &str, text: impl Display) {
        let place = self.values.get(key).origin.clone();
        self.notices.push(Notice { place, text: text.to_string() });
    }

    /// Any value, by a function that says what is wrong.
    pub(super) fn read<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> T {
        let value = self.values.get(key);
        match parse(&value.text) {
            Ok(read) => read,
            Err(text) => {
                self.refuse(key, text);
                parse(value.key.default)
                    .expect("the default of every key is valid, as a test shows")
            }
        }
    }

    /// The valid members of a list, each by a function that says what is wrong with one.
    pub(super) fn each<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let values = self.values;
        let mut read = Vec::new();
        for part in scalar::list(&values.get(key).text) {
            match parse(part) {
                Ok(member) => read.push(member),
                Err(text) => self.refuse(key, text),
            }
        }
        read
    }

    /// A text; nothing when unset.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        Some(self.values.get(key).text.clone()).filter(|text| !text.is_empty())
    }

    /// A text that has a default.
    pub(super) fn word(&mut self, key: &str) -> String {
        self.values.get(key).text.clone()
    }

    pub(super) fn path(&mut self, key: &str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    pub(super) fn secret(&mut self, key: &str) -> Option<Secret<String>> {
        self.text(key).map(Secret::new)
    }

    pub(super) fn list(&mut self, key: &str) -> Vec<String> {
        self.each(key, |part| Ok(part.to_owned()))
    }

    pub(super) fn boolean(&mut self, key: &str) -> bool {
        self.read(key, |text| {
            scalar::boolean(text).ok_or_else(|| format!("{key} is not a boolean"))
        })
    }

    pub(super) fn choice<T: Word>(&mut self, key: &str) -> T {
        self.read(key, |text| {
            T::from_word(text).ok_or_else(|| format!("{key} has an invalid value"))
        })
    }

    /// Bytes.
    pub(super) fn size(&mut self, key: &str) -> u64 {
        self.read(key, |text| scalar::size(text).ok_or_else(|| format!("{key} is not a size")))
    }

    pub(super) fn span(&mut self, key: &str) -> Duration {
        self.read(key, |text| scalar::span(text).ok_or_else(|| format!("{key} is not a time span")))
    }

    /// Seconds, fractions included.
    pub(super) fn seconds(&mut self, key: &str) -> Duration {
        self.read(key, |text| {
            scalar::number(text)
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                .ok_or_else(|| format!("{key} must be 0 or greater"))
        })
    }

    /// A whole number within limits, both included.
    pub(super) fn whole<T>(&mut self, key: &str, limits: RangeInclusive<T>) -> T
    where
        T: TryFrom<u64> + PartialOrd + Display,
    {
        self.read(key, |text| whole(key, text, &limits))
    }

    /// The same; nothing when unset.
    pub(super) fn optional<T>(&mut self, key: &str, limits: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<u64> + PartialOrd + Display,
    {
        self.read(key, |text| (!text.is_empty()).then(|| whole(key, text, &limits)).transpose())
    }

    pub(super) fn listen(&mut self, key: &str) -> Vec<Listen> {
        self.read(key, |text| match self.values.get(key).key.kind {
            Kind::Listen(transport) => listen::parse(key, text, transport),
            other => Err(format!("{key} is {other:?}, no listener")),
        })
    }
}

fn whole<T>(key: &str, text: &str, limits: &RangeInclusive<T>) -> Result<T, String>
where
    T: TryFrom<u64> + PartialOrd + Display,
{
    scalar::number(text)
        .filter(|number| number.fract() == 0.0 && (0.0..9e15).contains(number))
        .and_then(|number| T::try_from(number as u64).ok())
        .filter(|number| limits.contains(number))
        .ok_or_else(|| {
            format!(
                "{key} must be a whole number from {} to {}, not '{text}'",
                limits.start(),
                limits.end()
            )
        })
}
