use gateway_model::Violations;
use http::{HeaderName, HeaderValue};
use pingora_http::ResponseHeader;
use serde_json::Value;

use super::config::Config;

/// One change of the headers.
#[derive(Debug)]
pub(super) enum Step {
    Remove(HeaderName),
    Rename(HeaderName, HeaderName),
    Replace(HeaderName, HeaderValue),
    Add(HeaderName, HeaderValue),
    Append(HeaderName, HeaderValue),
}

/// The steps of a configuration, in order.
///
/// # Errors
///
/// Names and values that cannot stand in a header, by the field they are in.
pub(super) fn prepare(config: &Config) -> Result<Vec<Step>, Violations> {
    let mut steps = Vec::new();
    let mut violations = Violations::new();
    let mut read = |field: &str, texts: &[String], step: fn(&str) -> Option<Step>| {
        let mut problems = vec![Value::Null; texts.len()];
        let mut broken = false;
        for (text, problem) in texts.iter().zip(&mut problems) {
            match step(text) {
                Some(step) => steps.push(step),
                None => {
                    *problem = format!("invalid value: {text}").into();
                    broken = true;
                }
            }
        }
        if broken {
            violations.add(field, problems.into());
        }
    };
    // What follows a colon in a name to be removed does not count, as in Kong.
    read("remove.headers", &config.remove.headers, |text| {
        Some(Step::Remove(text.split(':').next()?.parse().ok()?))
    });
    read("rename.headers", &config.rename.headers, |text| {
        let (old, new) = text.split_once(':')?;
        Some(Step::Rename(old.parse().ok()?, new.parse().ok()?))
    });
    read("replace.headers", &config.replace.headers, |text| pair(text, Step::Replace));
    read("add.headers", &config.add.headers, |text| pair(text, Step::Add));
    read("append.headers", &config.append.headers, |text| pair(text, Step::Append));
    if violations.is_empty() { Ok(steps) } else { Err(violations) }
}

fn pair(text: &str, step: fn(HeaderName, HeaderValue) -> Step) -> Option<Step> {
    let (name, value) = text.split_once(':')?;
    Some(step(name.parse().ok()?, value.parse().ok()?))
}

impl Step {
    pub(super) fn apply(&self, head: &mut ResponseHeader) {
        // Names and values are valid already, and the map has room for what a response may hold:
        // pingora's errors cannot come.
        match self {
            Self::Remove(name) => drop(head.remove_header(name)),
            Self::Rename(old, new) => {
                let values: Vec<HeaderValue> = head.headers.get_all(old).iter().cloned().collect();
                if values.is_empty() || old == new {
                    return;
                }
                head.remove_header(old);
                head.remove_header(new);
                for value in values {
                    let _ = head.append_header(new.clone(), value);
                }
            }
            Self::Replace(name, value) => {
                if head.headers.contains_key(name) {
                    let _ = head.insert_header(name.clone(), value.clone());
                }
            }
            Self::Add(name, value) => {
                if !head.headers.contains_key(name) {
                    let _ = head.insert_header(name.clone(), value.clone());
                }
            }
            Self::Append(name, value) => {
                let _ = head.append_header(name.clone(), value.clone());
            }
        }
    }
}
