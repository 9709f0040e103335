//! A whole configuration in one file: `kong.yml`, or the same as JSON, to changes.
//!
//! Nothing here knows a kind by name: what may stand inside what, what refers to what and what a
//! document must hold all come from the registry, so a plugin's credentials are read as soon as
//! the plugin declares them. Three steps, each its own module: `flatten` takes nested entities
//! out of their parents, `identify` gives every entity its id and resolves references, and
//! `problem` says where something is wrong, and `flattened` with which entity. `export` writes such a
//! file.
//!
//! Formats 3.0, 2.1 and 1.1 are read (kong/db/declarative, kong/db/schema/others).

mod export;
mod flatten;
mod flattened;
mod identify;
mod location;
mod problem;

use gateway_model::schema::{Mode, types};
use gateway_model::{Change, Document, Registry};
use serde_json::Value;

pub use export::export;
use flatten::Entry;
pub use flattened::flattened;
pub use location::Location;
pub use problem::DeclarativeError;
use problem::Problems;

const VERSIONS: [&str; 3] = ["1.1", "2.1", "3.0"];

/// Members of the file, and of its entities, that are not configuration.
const REMARKS: [&str; 2] = ["_comment", "_ignore"];

/// The changes that create everything a file declares, parents before children.
///
/// `_transform: false` says that entities stand there as they were stored, with their times and
/// hashes; [`export`] writes such files.
///
/// Ids that the file leaves out are derived from kind and key, so the same file always gives the
/// same entities.
///
/// # Errors
///
/// Everything wrong with it, by place. References must name entities of the same file.
pub fn changes(text: &str, registry: &Registry) -> Result<Vec<Change>, DeclarativeError> {
    read_changes(text, registry).map_err(|why| why.located(text))
}

fn read_changes(text: &str, registry: &Registry) -> Result<Vec<Change>, DeclarativeError> {
    let mut file = read(text)?;
    let mut problems = Problems::default();
    let version = header(&mut file, &mut problems);
    problems.none()?;

    let transform = file.shift_remove("_transform") != Some(Value::Bool(false));
    let mut entries = flatten::entries(file, registry, &mut problems);
    for entry in &mut entries {
        if version != "3.0" {
            mark_regex_paths(entry);
        }
        check(entry, registry, &mut problems);
    }
    problems.none()?;

    identify::all(&mut entries, registry)?;
    let change = |Entry { kind, document, .. }: Entry| match transform {
        true => Change::Insert { kind: kind.kind, document },
        false => Change::Restore { kind: kind.kind, document },
    };
    Ok(entries.into_iter().map(change).collect())
}

/// What references may add to what a text itself holds: values, and bytes of text in them.
const REPEATED_VALUES: usize = 1_000_000;
const REPEATED_BYTES: usize = 64 << 20;

/// Lists and members inside one another. No configuration comes near; each takes its part of the
/// stack of whoever reads.
const DEPTH: usize = 32;

/// A file may be as large as it is, and no reference in it may make it much larger.
fn options(text: &str) -> serde_saphyr::Options {
    let values = text.len().saturating_add(REPEATED_VALUES);
    serde_saphyr::options! {
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::LastWins,
        budget: serde_saphyr::budget! {
            max_events: values,
            max_nodes: values,
            max_aliases: values,
            max_anchors: values,
            max_merge_keys: values,
            max_recorded_anchor_events: values,
            max_recorded_anchor_bytes: text.len().saturating_add(REPEATED_BYTES),
            max_total_scalar_bytes: text.len().saturating_add(REPEATED_BYTES),
            max_depth: DEPTH,
            max_documents: values,
            // One definition may be used by every route there is.
            enforce_alias_anchor_ratio: false,
        },
        // Only `true` and `false`: a service may be called `y`, as it may in the reference.
        strict_booleans: true,
    }
}

/// YAML, of which JSON is a part. As in Kong the last of two equal keys wins.
fn read(text: &str) -> Result<Document, DeclarativeError> {
    let value: Value = serde_saphyr::from_str_with_options(text, options(text))
        .map_err(|why| DeclarativeError::syntax(&why))?;
    match value {
        Value::Object(file) => Ok(file),
        _ => Err(DeclarativeError::NoDocument),
    }
}

/// Takes the members that describe the file off it, and gives its version.
fn header(file: &mut Document, problems: &mut Problems) -> &'static str {
    for name in REMARKS.iter().chain(&["_info", "_plugin_configs", "_workspace"]) {
        file.shift_remove(*name);
    }
    if let Some(value) = file.get("_transform")
        && !value.is_boolean()
    {
        problems.top("_transform", "expected a boolean".into());
    }
    let found = file.shift_remove("_format_version").unwrap_or_default();
    let known = VERSIONS.iter().find(|version| found == **version);
    match (&found, known) {
        (_, Some(version)) => return version,
        (Value::Null, _) => problems.top("_format_version", "required field missing".into()),
        (Value::String(_), _) => {
            problems
                .top("_format_version", format!("expected one of: {}", VERSIONS.join(", ")).into());
        }
        _ => problems.top("_format_version", "expected a string".into()),
    }
    "3.0"
}

/// Before 3.0 a path with other than plain characters was a regular expression; now `~` says so.
fn mark_regex_paths(entry: &mut Entry) {
    if entry.kind.kind != "routes" {
        return;
    }
    let Some(Value::Array(paths)) = entry.document.get_mut("paths") else { return };
    for path in paths {
        let Some(text) = path.as_str() else { continue };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/%".contains(c);
        let marked =
            if text.chars().all(plain) { types::normalise(text) } else { format!("~{text}") };
        *path = marked.into();
    }
}

/// The rules of one entity, as the Admin API checks them.
fn check(entry: &Entry, registry: &Registry, problems: &mut Problems) {
    let mut document = entry.document.clone();
    identify::stand_in(entry, &mut document);
    let mut violations = registry.complete(entry.kind, &mut document);
    violations.add_all(registry.check(entry.kind, &document, Mode::Create));
    if !violations.is_empty() {
        problems.entity(&entry.place, violations.into_fields());
    }
}
