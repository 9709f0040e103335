//! Lines and columns of a file's members, read again only when something is wrong with them.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::Spanned;

/// Where a value stands, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// Line.
    pub line: u64,
    /// Column.
    pub column: u64,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// The values of a file with where they stand.
pub(super) struct Node {
    at: Location,
    inside: Inside,
}

enum Inside {
    Scalar(Option<String>),
    List(Vec<Node>),
    Members(Vec<(String, Node)>),
}

impl Node {
    /// The values of a text; `None` when it is no YAML, which was said already.
    pub(super) fn read(text: &str) -> Option<Self> {
        serde_saphyr::from_str_with_options(text, super::options(text)).ok()
    }

    pub(super) const fn at(&self) -> Location {
        self.at
    }

    /// The member of this name. In a list it is the element of that key, or of that position,
    /// from 1: reports on references are by name.
    pub(super) fn member(&self, name: &str) -> Option<&Self> {
        match &self.inside {
            // The last of two equal keys wins.
            Inside::Members(members) => {
                members.iter().rev().find(|(known, _)| known == name).map(|(_, node)| node)
            }
            Inside::List(elements) => {
                let position = name.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
                let named = elements.iter().find(|element| element.holds(name));
                named.or_else(|| elements.get(position?))
            }
            Inside::Scalar(_) => None,
        }
    }

    /// The element at a position, from 0.
    pub(super) fn element(&self, position: usize) -> Option<&Self> {
        match &self.inside {
            Inside::List(elements) => elements.get(position),
            _ => None,
        }
    }

    /// Whether a member is this text.
    fn holds(&self, text: &str) -> bool {
        let is = |node: &Self| matches!(&node.inside, Inside::Scalar(Some(one)) if one == text);
        matches!(&self.inside, Inside::Members(members) if members.iter().any(|(_, node)| is(node)))
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Inside>::deserialize(deserializer)?;
        let at = spanned.referenced;
        Ok(Self { at: Location { line: at.line(), column: at.column() }, inside: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Inside {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Inside;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Inside, A::Error> {
        let mut members = Vec::new();
        while let Some((key, node)) = map.next_entry::<Value, Node>()? {
            let name = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
            members.push((name, node));
        }
        Ok(Inside::Members(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Inside, A::Error> {
        let mut elements = Vec::new();
        while let Some(node) = list.next_element::<Node>()? {
            elements.push(node);
        }
        Ok(Inside::List(elements))
    }

    fn visit_str<E>(self, text: &str) -> Result<Inside, E> {
        Ok(Inside::Scalar(Some(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Inside, E> {
        Ok(Inside::Scalar(None))
    }

    fn visit_none<E>(self) -> Result<Inside, E> {
        Ok(Inside::Scalar(None))
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Inside, D::Error> {
        inner.deserialize_any(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Inside, E> {
        Ok(Inside::Scalar(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Inside, E> {
        Ok(Inside::Scalar(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Inside, E> {
        Ok(Inside::Scalar(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Inside, E> {
        Ok(Inside::Scalar(None))
    }
}
