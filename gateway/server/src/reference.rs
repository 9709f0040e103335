//! The reference of the plugins, made of their schemas: what `gateway plugins docs` prints.
//!
//! Every word comes from where the plugin itself has it: names, types, defaults and rules from its
//! schema, meanings from the doc comments beside them. So it cannot be out of date.

use std::fmt::Write as _;

use gateway_model::schema::{Auto, Check, Expand, Field, Kind, Record, Rule};
use gateway_model::{EntityType, PluginSchema, Scopes};
use plugins::contract::{Phases, PluginType};
use serde_json::Value;

/// The reference of all plugins, Markdown.
pub(crate) fn whole() -> String {
    let mut out = String::from("# Plugins\n\nIn the order they run.\n\n");
    out.push_str("| plugin | priority | what it does |\n|---|---|---|\n");
    for plugin in plugins::ALL {
        let about = cell(&about(&plugin.schema().record));
        let _ = writeln!(out, "| [{0}](#{0}) | {1} | {about} |", plugin.name, plugin.priority);
    }
    for plugin in plugins::ALL {
        out.push('\n');
        out.push_str(&one(plugin));
    }
    out
}

/// The reference of one plugin, Markdown.
pub(crate) fn one(plugin: &PluginType) -> String {
    let schema = plugin.schema();
    let mut out = format!("## {}\n\n{}\n\n", plugin.name, about(&schema.record));
    let _ = writeln!(out, "- Priority {}, in {}", plugin.priority, phases(plugin.phases));
    let _ = writeln!(out, "- Attached to {}", scopes(&schema));
    let _ = writeln!(out, "- For {}", schema.protocols.join(", "));
    out.push('\n');
    out.push_str(&table(&schema.record));
    for kind in plugin.entities {
        let _ = write!(out, "\n### {}\n\n{}\n", kind.kind, entity(kind));
    }
    out
}

/// The doc comment of a record, a sentence for readers: without the file it was taken from.
fn about(record: &Record) -> String {
    let text = record.doc.split("(kong/").next().unwrap_or_default().trim().trim_end_matches('.');
    format!("{text}.")
}

fn phases(phases: Phases) -> String {
    let all = [
        ("certificate", Phases::CERTIFICATE),
        ("rewrite", Phases::REWRITE),
        ("access", Phases::ACCESS),
        ("response", Phases::RESPONSE),
        ("header_filter", Phases::HEADER_FILTER),
        ("body_filter", Phases::BODY_FILTER),
        ("log", Phases::LOG),
    ];
    let named = all.into_iter().filter(|(_, phase)| phases.has(*phase)).map(|(name, _)| name);
    named.collect::<Vec<_>>().join(", ")
}

fn scopes(schema: &PluginSchema) -> String {
    let Scopes { service, route, consumer, global, .. } = schema.scopes;
    let all = [
        ("everything", global),
        ("a service", service),
        ("a route", route),
        ("a consumer", consumer),
    ];
    let named = all.into_iter().filter(|(_, allowed)| *allowed).map(|(name, _)| name);
    named.collect::<Vec<_>>().join(", ")
}

fn entity(kind: &EntityType) -> String {
    let mut out = format!("{}\n\n", about(kind.record()));
    if let Some(segment) = kind.collection {
        let _ = write!(out, "Admin API: `/{segment}`");
        if let Some(nested) = kind.nested {
            let parents = kind.references().map(|(_, parent, _)| parent);
            for parent in parents {
                let _ = write!(out, ", `/{parent}/…/{nested}`");
            }
        }
        out.push_str("\n\n");
    }
    out + &table(kind.record())
}

/// Fields in a table, then the rules between them and their old names.
fn table(record: &Record) -> String {
    let mut rows = String::new();
    let mut notes = Vec::new();
    fields(record, "", &mut rows, &mut notes);
    let mut out = String::new();
    if rows.is_empty() {
        out.push_str("It has no configuration.\n");
    } else {
        out.push_str("| field | type | default | meaning |\n|---|---|---|---|\n");
        out.push_str(&rows);
    }
    if !notes.is_empty() {
        out.push('\n');
    }
    for note in notes {
        let _ = writeln!(out, "- {note}");
    }
    out
}

fn fields(record: &Record, prefix: &str, rows: &mut String, notes: &mut Vec<String>) {
    for field in &record.fields {
        let name = format!("{prefix}{}", field.name);
        let (kind, default) = (cell(&described(field)), cell(&default(field)));
        let _ = writeln!(rows, "| `{name}` | {kind} | {default} | {} |", cell(field.doc));
        match &field.kind {
            Kind::Record(inner) => fields(inner, &format!("{name}."), rows, notes),
            Kind::Array(element) | Kind::Set(element) => {
                if let Kind::Record(inner) = &element.kind {
                    fields(inner, &format!("{name}[]."), rows, notes);
                }
            }
            Kind::Map { values, .. } => {
                if let Kind::Record(inner) = &values.kind {
                    fields(inner, &format!("{name}.*."), rows, notes);
                }
            }
            _ => {}
        }
    }
    notes.extend(record.checks.iter().filter_map(|check| between(check, prefix)));
    for short in &record.shorthands {
        let note = match short.expand {
            Expand::Moved(path) | Expand::Alias(path) => {
                format!("`{prefix}{}` is an old name of `{prefix}{path}`.", short.name)
            }
            Expand::Computed(_) => {
                format!("`{prefix}{}` is accepted as older versions had it.", short.name)
            }
        };
        notes.push(note);
    }
}

/// Type and rules of a field.
fn described(field: &Field) -> String {
    if field.expires {
        return "seconds to live".to_owned();
    }
    let mut parts = vec![kind(&field.kind)];
    parts.extend(field.rules.iter().filter_map(rule));
    if let Kind::Array(element) | Kind::Set(element) = &field.kind {
        parts.extend(element.rules.iter().filter_map(rule));
    }
    if field.required && field.default.is_none() && !matches!(field.kind, Kind::Record(_)) {
        parts.push("required".to_owned());
    }
    for (set, text) in [
        (field.unique, "unique"),
        (field.sealed, "sealed in the store"),
        (field.referenceable, "may be a vault reference"),
    ] {
        parts.extend(set.then(|| text.to_owned()));
    }
    parts.join("; ")
}

fn kind(of: &Kind) -> String {
    match of {
        Kind::Array(element) => format!("list of {}", kind(&element.kind)),
        Kind::Set(element) => format!("set of {}", kind(&element.kind)),
        Kind::Map { values, .. } => format!("map to {}", kind(&values.kind)),
        Kind::Foreign(target) => format!("reference to {target}"),
        other => other.name().to_owned(),
    }
}

fn rule(of: &Rule) -> Option<String> {
    let list = |values: &[Value]| values.iter().map(code).collect::<Vec<_>>().join(", ");
    Some(match of {
        Rule::OneOf(values) => format!("one of {}", list(values)),
        Rule::NotOneOf(values) => format!("none of {}", list(values)),
        Rule::Between(low, high) => format!("{low} to {high}"),
        Rule::Gt(low) => format!("more than {low}"),
        Rule::LenMin(length) => format!("at least {length}"),
        Rule::LenMax(length) => format!("at most {length}"),
        Rule::StartsWith(prefix) => format!("begins with `{prefix}`"),
        Rule::Match(pattern) => format!("matches `{pattern}`"),
        Rule::Uuid => "UUID".to_owned(),
        Rule::Custom { name, .. } => name.replace('_', " "),
        _ => return None,
    })
}

fn default(field: &Field) -> String {
    match (&field.default, field.auto) {
        (Some(value), _) => code(value),
        (None, Some(Auto::RandomText)) => "random".to_owned(),
        (None, Some(_)) => "filled in".to_owned(),
        (None, None) => String::new(),
    }
}

fn code(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if text.is_empty() { "empty".to_owned() } else { format!("`{text}`") }
}

/// A rule between fields.
fn between(check: &Check, prefix: &str) -> Option<String> {
    let named = |names: &[&str]| {
        names.iter().map(|name| format!("`{prefix}{name}`")).collect::<Vec<_>>().join(", ")
    };
    Some(match check {
        Check::AtLeastOneOf(names) => format!("At least one of {} is set.", named(names)),
        Check::OnlyOneOf(names) => format!("Exactly one of {} is set.", named(names)),
        Check::MutuallyRequired(names) => format!("All or none of {} are set.", named(names)),
        Check::MutuallyExclusive(names) => format!("At most one of {} is set.", named(names)),
        Check::Distinct(names) => format!("{} differ.", named(names)),
        Check::Conditional { if_field, then_field, error: Some(error), .. } => {
            format!("`{prefix}{if_field}` and `{prefix}{then_field}`: {error}.")
        }
        Check::Conditional { if_field, then_field, .. } => {
            format!("What `{prefix}{then_field}` may be depends on `{prefix}{if_field}`.")
        }
        Check::ConditionalAtLeastOneOf { if_field, then_fields, .. } => {
            format!("Whether {} is needed depends on `{prefix}{if_field}`.", named(then_fields))
        }
        Check::Custom(_) | Check::Made(_) => return None,
    })
}

/// Text that cannot end a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plugin_and_field_is_told() {
        let text = whole();
        for plugin in plugins::ALL {
            let part = one(plugin);
            assert!(text.contains(&part), "{}", plugin.name);
            let record = plugin.schema().record;
            assert!(record.doc.len() > 10, "{} has no words", plugin.name);
            undocumented(&record, plugin.name);
            for field in &record.fields {
                assert!(part.contains(&format!("| `{}` |", field.name)), "{}", field.name);
            }
            for kind in plugin.entities {
                undocumented(kind.record(), kind.kind);
                assert!(part.contains(&format!("### {}", kind.kind)));
            }
        }
        for line in text.lines().filter(|line| line.starts_with('|')) {
            let cells = line.replace("\\|", "").matches('|').count();
            assert!(cells == 4 || cells == 5, "{line}");
        }
    }

    fn undocumented(record: &Record, at: &str) {
        for field in &record.fields {
            assert!(!field.doc.is_empty(), "{at}.{} has no words", field.name);
            if let Kind::Record(inner) = &field.kind {
                undocumented(inner, &format!("{at}.{}", field.name));
            }
        }
    }
}
