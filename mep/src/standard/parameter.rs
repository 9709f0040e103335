//! [`Parameter`] and [`Query`]: what the queries of the standard's own face may have, as they are read
//! and as the documents tell it.

use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};

use super::refusal::Refusal;
use crate::openapi::{Operation, one_of, optional, text as any_text};

/// A parameter of a query.
#[derive(Clone, Copy)]
pub(crate) struct Parameter {
    name: &'static str,
    kind: Kind,
    /// What it asks for, as the documents tell it.
    says: &'static str,
}

#[derive(Clone, Copy)]
enum Kind {
    /// Text, given once.
    Single,
    /// May be repeated, or hold commas; any of the values will do.
    List,
    /// `true` or `false`.
    Flag,
    /// One of these.
    OneOf(&'static [&'static str]),
}

impl Parameter {
    pub(crate) const fn single(name: &'static str, says: &'static str) -> Self {
        Self { name, kind: Kind::Single, says }
    }

    pub(crate) const fn list(name: &'static str, says: &'static str) -> Self {
        Self { name, kind: Kind::List, says }
    }

    pub(crate) const fn flag(name: &'static str, says: &'static str) -> Self {
        Self { name, kind: Kind::Flag, says }
    }

    pub(crate) const fn one_of(
        name: &'static str,
        words: &'static [&'static str],
        says: &'static str,
    ) -> Self {
        Self { name, kind: Kind::OneOf(words), says }
    }

    /// Whether a value is one of its.
    fn admit(&self, value: &str) -> Result<(), Refusal> {
        let name = self.name;
        match self.kind {
            _ if value.is_empty() => Err(Refusal::bad(format!("{name} is empty"))),
            Kind::Flag if !matches!(value, "true" | "false") => {
                Err(Refusal::bad(format!("{name} must be true or false")))
            }
            Kind::OneOf(words) if !words.contains(&value) => {
                Err(Refusal::bad(format!("{name} is not one of its values")))
            }
            _ => Ok(()),
        }
    }

    /// As the documents tell it.
    fn told(&self) -> ParameterBuilder {
        let schema = match self.kind {
            Kind::Single => any_text(),
            Kind::List => ArrayBuilder::new().items(any_text()).into(),
            Kind::Flag => ObjectBuilder::new().schema_type(Type::Boolean).into(),
            Kind::OneOf(words) => one_of(words),
        };
        optional(self.name, ParameterIn::Query, self.says).schema(Some(schema))
    }
}

impl Operation {
    /// Its query may have these.
    pub(super) fn queried(mut self, known: &[Parameter]) -> Self {
        for parameter in known {
            self = self.parameter(parameter.told());
        }
        self
    }
}

/// Parameters a resource knows, with what was given of them.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(&'static str, Vec<String>)>);

impl Query {
    /// What a query asks for by these parameters. Any other is refused.
    pub(super) fn read(text: &str, known: &[Parameter]) -> Result<Self, Refusal> {
        let mut query = Self::default();
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            let Some(parameter) = known.iter().find(|known| known.name == name) else {
                // As much of it as tells one from another.
                let name: String = name.chars().take(64).collect();
                return Err(Refusal::bad(format!("the query parameter {name} is not known")));
            };
            let (name, values) = match parameter.kind {
                Kind::List => (parameter.name, value.split(',').map(str::to_owned).collect()),
                _ => (parameter.name, vec![value.into_owned()]),
            };
            for value in &values {
                parameter.admit(value)?;
            }
            match (query.0.iter_mut().find(|(given, _)| *given == name), parameter.kind) {
                (Some((_, given)), Kind::List) => given.extend(values),
                (Some(_), _) => return Err(Refusal::bad(format!("{name} is given twice"))),
                (None, _) => query.0.push((name, values)),
            }
        }
        Ok(query)
    }

    pub(crate) fn list(&self, name: &str) -> Option<&[String]> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.map(|(_, values)| values.as_slice())
    }

    pub(crate) fn single(&self, name: &str) -> Option<&str> {
        self.list(name)?.first().map(String::as_str)
    }

    /// A flag.
    pub(crate) fn boolean(&self, name: &str) -> Option<bool> {
        self.single(name).map(|value| value == "true")
    }
}
