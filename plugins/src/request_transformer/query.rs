//! Changes of the query. What is changed is written anew: sorted by name, escaped.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use pingora_http::RequestHeader;

use super::steps::Step;
use crate::kit::query::{arguments, set};

/// Values by name; none stands for an argument without `=`.
pub(super) type Arguments = BTreeMap<Vec<u8>, Vec<Option<Vec<u8>>>>;

pub(super) fn read(query: &str) -> Arguments {
    let mut all = Arguments::new();
    for (name, value) in arguments(query) {
        let value = value.map(|value| value.into_owned().into_bytes());
        all.entry(name.into_owned().into_bytes()).or_default().push(value);
    }
    all
}

pub(super) fn apply(head: &mut RequestHeader, steps: Vec<Step<Vec<u8>>>) {
    let mut all = read(head.uri.query().unwrap_or_default());
    for step in steps {
        match step {
            Step::Remove(name) => drop(all.remove(name.as_bytes())),
            Step::Rename(old, new) => {
                let values = all.remove(old.as_bytes());
                // As in Kong, the new name loses its values even where the old has none.
                match values {
                    Some(values) => drop(all.insert(new, values)),
                    None => drop(all.remove(&new)),
                }
            }
            Step::Replace(name, value) => {
                if let Some(values) = all.get_mut(name.as_bytes()) {
                    *values = vec![Some(value)];
                }
            }
            Step::Add(name, value) => {
                all.entry(name.into_bytes()).or_insert_with(|| vec![Some(value)]);
            }
            Step::Append(name, value) => {
                all.entry(name.into_bytes()).or_default().push(Some(value));
            }
        }
    }
    set(head, &written(&all));
}

/// What needs no escape in an argument (ngx.escape_uri).
const KEPT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(super) fn written(all: &Arguments) -> String {
    let mut text = String::new();
    for (name, values) in all {
        for value in values {
            if !text.is_empty() {
                text.push('&');
            }
            text.extend(percent_encode(name, &KEPT));
            if let Some(value) = value {
                text.push('=');
                text.extend(percent_encode(value, &KEPT));
            }
        }
    }
    text
}
