//! A [`Record`] in the form Kong's `/schemas` endpoints show.

use serde_json::{Map, Value, json};

use super::{Auto, Check, Expand, Field, Kind, OnDelete, Record, Rule};

impl Record {
    /// `{"fields":[{NAME:{…}},…],"entity_checks":[…],"shorthand_fields":[…]}`, empty parts left
    /// out.
    pub fn describe(&self) -> Map<String, Value> {
        let mut out = Map::new();
        out.insert("fields".into(), self.shown_fields().map(Field::named).collect());
        let checks: Vec<Value> = self.checks.iter().filter_map(Check::describe).collect();
        if !checks.is_empty() {
            out.insert("entity_checks".into(), Value::Array(checks));
        }
        let shorthands: Vec<Value> =
            self.shorthands.iter().filter_map(super::Shorthand::describe).collect();
        if !shorthands.is_empty() {
            out.insert("shorthand_fields".into(), Value::Array(shorthands));
        }
        out
    }
}

impl Record {
    fn shown_fields(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|field| !field.expires)
    }
}

impl super::Shorthand {
    fn describe(&self) -> Option<Value> {
        let mut field = self.field.describe();
        match self.expand {
            Expand::Alias(_) => return None,
            Expand::Computed(_) => {}
            Expand::Moved(path) => {
                let path: Vec<&str> = path.split('.').collect();
                field.insert(
                    "deprecation".into(),
                    json!({
                        "replaced_with": [{"path": path}],
                        "message": format!(
                            "{} is deprecated, please use {} instead", self.name, path.join(".")
                        ),
                        "removal_in_version": "4.0",
                    }),
                );
                field.insert("translate_backwards".into(), json!(path));
            }
        }
        Some(json!({ self.name: field }))
    }
}

impl Field {
    fn named(&self) -> Value {
        json!({ self.name: self.describe() })
    }

    /// The attributes of one field.
    pub fn describe(&self) -> Map<String, Value> {
        let mut out = Map::new();
        let mut put = |name: &str, value: Value| {
            out.insert(name.to_owned(), value);
        };
        if !self.doc.is_empty() {
            put("description", self.doc.into());
        }
        put("type", self.kind.name().into());
        match &self.kind {
            Kind::Array(element) | Kind::Set(element) => put("elements", element.inner().into()),
            Kind::Map { keys, values } => {
                put("keys", keys.inner().into());
                put("values", values.inner().into());
            }
            Kind::Record(record) => {
                for (name, value) in record.describe() {
                    put(&name, value);
                }
            }
            Kind::Foreign(kind) => put("reference", (*kind).into()),
            Kind::Abstract => put("abstract", true.into()),
            _ => {}
        }
        // Which record it is decides whether one is needed.
        if self.required && !matches!(self.kind, Kind::Abstract) {
            put("required", true.into());
        }
        if let Some(default) = &self.default {
            put("default", default.clone());
        }
        match self.auto {
            Some(Auto::Id) => put("auto", true.into()),
            Some(Auto::CreatedAt | Auto::UpdatedAt) => {
                put("auto", true.into());
                put("timestamp", true.into());
            }
            Some(Auto::RandomText) => put("auto", true.into()),
            None => {}
        }
        let flags = [
            ("unique", self.unique),
            ("unique_across_ws", self.across_workspaces),
            ("referenceable", self.referenceable),
            ("encrypted", self.encrypted),
        ];
        for (name, _) in flags.iter().filter(|(_, set)| *set) {
            put(name, true.into());
        }
        if self.may_be_empty {
            put("len_min", 0.into());
        }
        match self.on_delete {
            OnDelete::Cascade => put("on_delete", "cascade".into()),
            OnDelete::SetNull => put("on_delete", "null".into()),
            OnDelete::Restrict => {}
        }
        for (name, value) in self.rules.iter().filter_map(Rule::describe) {
            put(name, value);
        }
        if let Some(error) = self.error {
            put("err", error.into());
        }
        out
    }

    /// The attributes of what a list or map holds. Kong has no word for "never null" there but in
    /// its type of tags.
    fn inner(&self) -> Map<String, Value> {
        let mut shown = self.describe();
        if !self.rules.iter().any(|rule| matches!(rule, Rule::Custom { name: "tag", .. })) {
            shown.shift_remove("required");
        }
        shown
    }
}

impl Kind {
    /// The `type` Kong names it by.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Array(_) => "array",
            Self::Set(_) => "set",
            Self::Map { .. } => "map",
            Self::Record(_) | Self::Abstract => "record",
            Self::Foreign(_) => "foreign",
            Self::Any => "any",
        }
    }
}

impl Rule {
    fn describe(&self) -> Option<(&'static str, Value)> {
        Some(match self {
            Self::Eq(value) => ("eq", value.clone()),
            Self::Ne(value) => ("ne", value.clone()),
            Self::OneOf(list) => ("one_of", list.clone().into()),
            Self::NotOneOf(list) => ("not_one_of", list.clone().into()),
            Self::Gt(low) => ("gt", number(*low)),
            Self::Between(low, high) => ("between", json!([number(*low), number(*high)])),
            Self::Uuid => ("uuid", true.into()),
            Self::LenEq(n) => ("len_eq", (*n).into()),
            Self::LenMin(n) => ("len_min", (*n).into()),
            Self::LenMax(n) => ("len_max", (*n).into()),
            Self::Match(pattern) => ("match", pattern.as_str().into()),
            Self::MatchNone(rows) => ("match_none", patterns(rows)),
            Self::MatchAll(rows) => ("match_all", patterns(rows)),
            Self::MatchAny(list, error) => {
                let list: Vec<&str> = list.iter().map(regex::Regex::as_str).collect();
                ("match_any", json!({"patterns": list, "err": error}))
            }
            Self::StartsWith(prefix) => ("starts_with", (*prefix).into()),
            Self::Contains(value) => ("contains", value.clone()),
            Self::ExclusiveSubsets(sets) => ("mutually_exclusive_subsets", json!(sets)),
            Self::Required => ("required", true.into()),
            Self::Custom { name: "is_regex", .. } => ("is_regex", true.into()),
            Self::Custom { .. } => return None,
            Self::Made(rule) => return rule.shown.clone(),
        })
    }
}

fn patterns(rows: &[(regex::Regex, &'static str)]) -> Value {
    rows.iter().map(|(pattern, error)| json!({"pattern": pattern.as_str(), "err": error})).collect()
}

fn number(value: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "whole bounds are far below 2^53")]
    if value.fract() == 0.0 { json!(value as i64) } else { json!(value) }
}

impl Check {
    fn describe(&self) -> Option<Value> {
        let rule = |rule: &Rule| match rule.describe() {
            Some((name, value)) => json!({ name: value }),
            None => json!({}),
        };
        Some(match self {
            Self::AtLeastOneOf(names) => json!({"at_least_one_of": names}),
            Self::OnlyOneOf(names) => json!({"only_one_of": names}),
            Self::MutuallyRequired(names) => json!({"mutually_required": names}),
            Self::MutuallyExclusive(names) => json!({"mutually_exclusive": names}),
            Self::Distinct(names) => json!({"distinct": names}),
            Self::Conditional { if_field, if_match, then_field, then_match, .. } => json!({
                "conditional": {
                    "if_field": if_field,
                    "if_match": rule(if_match),
                    "then_field": then_field,
                    "then_match": rule(then_match),
                }
            }),
            Self::ConditionalAtLeastOneOf { if_field, if_match, then_fields, error } => json!({
                "conditional_at_least_one_of": {
                    "if_field": if_field,
                    "if_match": rule(if_match),
                    "then_at_least_one_of": then_fields,
                    "then_err": format!("{}%s for {}", error.0, error.1),
                }
            }),
            Self::Custom(_) | Self::Made(_) => return None,
        })
    }
}
