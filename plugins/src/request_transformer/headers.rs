//! Changes of headers. `Host` stands apart: it is replaced only, and for the upstream.

use http::{HeaderName, HeaderValue, header};

use super::steps::Step;
use crate::contract::Request;

/// Applies changes whose names are known to be valid. A rendered value that cannot stand in a header
/// fails the request, as it does in Kong.
pub(super) fn apply(request: &mut Request<'_>, steps: Vec<Step<Vec<u8>>>) -> Result<(), String> {
    for step in steps {
        match step {
            Step::Remove(name) => {
                if !is_host(&name) {
                    request.head.remove_header(name.as_str());
                }
            }
            Step::Rename(old, new) => rename(request, &old, &new)?,
            Step::Replace(name, value) => {
                let value = value_of(&name, &value)?;
                if is_host(&name) {
                    request.facts.overrides().authority = Some(value);
                } else if request.head.headers.contains_key(&name) {
                    insert(request, name, value)?;
                }
            }
            Step::Add(name, value) => {
                let value = value_of(&name, &value)?;
                if !is_host(&name) && !request.head.headers.contains_key(&name) {
                    insert(request, name, value)?;
                }
            }
            Step::Append(name, value) => {
                let value = value_of(&name, &value)?;
                if !is_host(&name) {
                    let added = request.head.append_header(name, value);
                    added.map(drop).map_err(|why| why.to_string())?;
                }
            }
        }
    }
    Ok(())
}

fn is_host(name: &str) -> bool {
    name.eq_ignore_ascii_case(header::HOST.as_str())
}

fn value_of(name: &str, value: &[u8]) -> Result<HeaderValue, String> {
    HeaderValue::from_bytes(value).map_err(|_| format!("no value of a header: {name}"))
}

/// Names keep the case they are configured in.
fn insert(request: &mut Request<'_>, name: String, value: HeaderValue) -> Result<(), String> {
    request.head.insert_header(name, value).map_err(|why| why.to_string())
}

/// The new name is sent in lower case, as Kong sends it.
fn rename(request: &mut Request<'_>, old: &str, new: &[u8]) -> Result<(), String> {
    let new = HeaderName::from_bytes(&new.to_ascii_lowercase()).map_err(|why| why.to_string())?;
    let values: Vec<HeaderValue> = request.head.headers.get_all(old).iter().cloned().collect();
    if values.is_empty() || is_host(old) || new == header::HOST {
        return Ok(());
    }
    request.head.remove_header(old);
    request.head.remove_header(&new);
    for value in values {
        let added = request.head.append_header(new.as_str().to_owned(), value);
        added.map(drop).map_err(|why| why.to_string())?;
    }
    Ok(())
}
