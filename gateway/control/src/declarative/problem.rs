//! What is wrong with a file, and where.

use std::fmt;

use serde_json::{Map, Value};

use super::location::{Location, Node};

/// Why a file was refused.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum DeclarativeError {
    /// It is neither YAML nor JSON.
    Syntax {
        /// Line, from 1.
        line: u64,
        /// Column, from 1.
        column: u64,
        /// What was expected there.
        text: String,
    },
    /// It holds no object.
    NoDocument,
    /// It breaks rules.
    Invalid {
        /// The members mirror the file, with texts where something is wrong and null at good
        /// list elements.
        fields: Map<String, Value>,
        /// Where each of the texts belongs, in their order; as near as the file has it.
        places: Vec<Location>,
    },
}

impl DeclarativeError {
    pub(super) fn syntax(why: &serde_saphyr::Error) -> Self {
        let location = why.location();
        // The first line says what; the rest draws the place.
        let text = why.without_snippet().to_string();
        Self::Syntax {
            line: location.map_or(0, |at| at.line()),
            column: location.map_or(0, |at| at.column()),
            text: text.lines().next().unwrap_or_default().to_owned(),
        }
    }

    /// The same with lines and columns of the text it is about.
    pub(super) fn located(self, text: &str) -> Self {
        match self {
            Self::Invalid { fields, .. } => {
                let mut places = Vec::new();
                if let Some(file) = Node::read(text) {
                    locate_members(&fields, &file, &mut places);
                }
                Self::Invalid { fields, places }
            }
            other => other,
        }
    }

    /// The `fields` member of Kong's error body (code 14).
    pub fn fields(&self) -> Map<String, Value> {
        match self {
            Self::Invalid { fields, .. } => fields.clone(),
            other => Map::from_iter([("error".to_owned(), other.to_string().into())]),
        }
    }
}

impl std::error::Error for DeclarativeError {}

/// Kong's tree: one line a level, one complaint a leaf (kong/db/declarative, pretty_print_error);
/// the places are ours.
impl fmt::Display for DeclarativeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax { line, column, text } => {
                write!(f, "failed parsing declarative configuration: {line}:{column}: {text}")
            }
            Self::NoDocument => f.write_str("expected a declarative configuration"),
            Self::Invalid { fields, places } => {
                let mut tree = Tree { lines: Vec::new(), places: places.iter() };
                tree.members(fields, "");
                f.write_str(&tree.lines.join("\n"))
            }
        }
    }
}

struct Tree<'a> {
    lines: Vec<String>,
    places: std::slice::Iter<'a, Location>,
}

impl Tree<'_> {
    fn members(&mut self, fields: &Map<String, Value>, indent: &str) {
        for (name, value) in fields {
            self.leaf(&format!("{indent}in '{name}'"), name, value, indent);
        }
    }

    fn leaf(&mut self, label: &str, name: &str, value: &Value, indent: &str) {
        let deeper = format!("{indent}  ");
        match value {
            Value::Object(inner) => {
                self.lines.push(format!("{label}:"));
                self.members(inner, &deeper);
            }
            Value::Array(elements) => {
                self.lines.push(format!("{label}:"));
                for (index, element) in complaints(elements) {
                    let label = format!("{deeper}- in entry {} of '{name}'", index + 1);
                    self.leaf(&label, name, element, &deeper);
                }
            }
            text => {
                let text = text.as_str().map_or_else(|| text.to_string(), str::to_owned);
                let place = self.places.next().map(|at| format!(" ({at})")).unwrap_or_default();
                self.lines.push(format!("{label}: {text}{place}"));
            }
        }
    }
}

/// Finds the place of every text, in the order of [`Tree`]; `near` is the closest value there is.
fn locate_members(fields: &Map<String, Value>, near: &Node, places: &mut Vec<Location>) {
    for (name, value) in fields {
        locate(value, near.member(name).unwrap_or(near), places);
    }
}

fn locate(value: &Value, near: &Node, places: &mut Vec<Location>) {
    match value {
        Value::Object(inner) => locate_members(inner, near, places),
        Value::Array(elements) => {
            for (index, element) in complaints(elements) {
                locate(element, near.element(index).unwrap_or(near), places);
            }
        }
        _ => places.push(near.at()),
    }
}

fn complaints(elements: &[Value]) -> impl Iterator<Item = (usize, &Value)> {
    elements.iter().enumerate().filter(|(_, element)| !element.is_null())
}

/// Where an entity stands: list names and positions from the top.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Place(Vec<(&'static str, usize)>);

impl Place {
    pub(super) const fn top() -> Self {
        Self(Vec::new())
    }

    pub(super) fn below(&self, list: &'static str, index: usize) -> Self {
        let mut steps = self.0.clone();
        steps.push((list, index));
        Self(steps)
    }

    /// Its position in its own list, from 1.
    pub(super) fn position(&self) -> usize {
        self.0.last().map_or(0, |(_, index)| index + 1)
    }
}

/// Everything wrong with a file, in the shape of the file.
#[derive(Debug, Default)]
pub(super) struct Problems(Map<String, Value>);

impl Problems {
    /// Fails with what was collected so far, if anything.
    pub(super) fn none(&mut self) -> Result<(), DeclarativeError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let fields = std::mem::take(&mut self.0);
        Err(DeclarativeError::Invalid { fields, places: Vec::new() })
    }

    /// A member of the file itself.
    pub(super) fn top(&mut self, name: &str, problem: Value) {
        self.0.entry(name).or_insert(problem);
    }

    /// One member of an entity, or of the file.
    pub(super) fn member(&mut self, place: &Place, name: &str, problem: Value) {
        if let Some(members) = self.at(place) {
            members.entry(name).or_insert(problem);
        }
    }

    /// The violations of an entity.
    pub(super) fn entity(&mut self, place: &Place, fields: Map<String, Value>) {
        if let Some(members) = self.at(place) {
            for (name, problem) in fields {
                members.entry(name).or_insert(problem);
            }
        }
    }

    /// An entity as a whole.
    pub(super) fn whole(&mut self, place: &Place, problem: Value) {
        let slot = slot(&mut self.0, &place.0);
        if let Some(slot) = slot.filter(|slot| slot.is_null()) {
            *slot = problem;
        }
    }

    /// A reference that names nothing. Kong reports these by name rather than by position.
    pub(super) fn reference(&mut self, kind: &str, name: &str, text: String) {
        let named = self.0.entry(kind).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(named) = named
            && let Value::Array(texts) = named.entry(name).or_insert_with(|| Value::Array(vec![]))
        {
            texts.push(text.into());
        }
    }

    /// The members of an entity's report, `None` when the entity is wrong as a whole.
    fn at(&mut self, place: &Place) -> Option<&mut Map<String, Value>> {
        if place.0.is_empty() {
            return Some(&mut self.0);
        }
        let slot = slot(&mut self.0, &place.0)?;
        if slot.is_null() {
            *slot = Value::Object(Map::new());
        }
        slot.as_object_mut()
    }
}

/// The element of the report at a place; made with the lists above it where missing.
fn slot<'a>(
    members: &'a mut Map<String, Value>,
    steps: &[(&'static str, usize)],
) -> Option<&'a mut Value> {
    let ((name, index), rest) = steps.split_first()?;
    let list = members.entry(*name).or_insert_with(|| Value::Array(Vec::new())).as_array_mut()?;
    if list.len() <= *index {
        list.resize(index + 1, Value::Null);
    }
    let slot = &mut list[*index];
    if rest.is_empty() {
        return Some(slot);
    }
    if slot.is_null() {
        *slot = Value::Object(Map::new());
    }
    self::slot(slot.as_object_mut()?, rest)
}
