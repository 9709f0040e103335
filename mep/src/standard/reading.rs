//! [`Reader`]: JSON bodies as the standard has them, with everything that is wrong told at once.
//!
//! Names are exact, `null` is absent, unknown members are ignored, a member given twice is refused.

use std::cell::RefCell;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::refusal::{Invalid, Refusal};

/// Reads a body that is one JSON object.
pub(crate) fn object(bytes: &[u8]) -> Result<Map<String, Value>, Refusal> {
    match serde_json::from_slice::<Strict>(bytes) {
        Ok(Strict(Value::Object(members))) => Ok(members),
        Ok(_) => Err(Refusal::bad("the body is no JSON object")),
        Err(why) => Err(Refusal::bad(format!("the body is no valid JSON: {why}"))),
    }
}

/// A JSON value without a member given twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let Strict(value) = members.next_value()?;
            if object.contains_key(&name) {
                return Err(A::Error::custom(format_args!("'{name}' is given twice")));
            }
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

/// What `read` makes of the members of a body, unless something is wrong with them.
pub(crate) fn read<T>(
    members: &Map<String, Value>,
    read: impl FnOnce(&Reader<'_>) -> T,
) -> Result<T, Refusal> {
    let broken = Broken::default();
    let made = read(&Reader::new(members, &broken));
    broken.unless(made)
}

/// What is wrong so far.
#[derive(Default)]
pub(crate) struct Broken(RefCell<Vec<Invalid>>);

impl Broken {
    /// `read`, unless something was wrong.
    pub(crate) fn unless<T>(self, read: T) -> Result<T, Refusal> {
        let invalid = self.0.into_inner();
        if invalid.is_empty() { Ok(read) } else { Err(Refusal::invalid(invalid)) }
    }
}

/// The members of one object and where it stands. A member that is wrong is noted, and read as if
/// it were absent.
pub(crate) struct Reader<'a> {
    members: &'a Map<String, Value>,
    at: String,
    broken: &'a Broken,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(members: &'a Map<String, Value>, broken: &'a Broken) -> Self {
        Self { members, at: String::new(), broken }
    }

    /// Notes that a member is wrong.
    pub(crate) fn refuse(&self, name: &str, reason: impl Into<String>) {
        let param = self.place(name);
        self.broken.0.borrow_mut().push(Invalid { param, reason: reason.into() });
    }

    fn place(&self, name: &str) -> String {
        match (self.at.as_str(), name) {
            ("", name) => name.to_owned(),
            (at, "") => at.to_owned(),
            (at, name) => format!("{at}.{name}"),
        }
    }

    /// A member of any type.
    pub(crate) fn any(&self, name: &str) -> Option<&'a Value> {
        self.members.get(name).filter(|value| !value.is_null())
    }

    fn typed<T>(
        &self,
        name: &str,
        what: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.any(name)?;
        let read = read(value);
        if read.is_none() {
            self.refuse(name, format!("must be {what}"));
        }
        read
    }

    /// Notes that a mandatory member is missing.
    fn mandatory<T>(&self, name: &str, read: Option<T>) -> Option<T> {
        if read.is_none() && self.any(name).is_none() {
            self.refuse(name, "is missing");
        }
        read
    }

    /// A text of at most `most` characters.
    pub(crate) fn text(&self, name: &str, most: usize) -> Option<String> {
        let text = self.typed(name, "a string", Value::as_str)?;
        if text.chars().count() > most {
            self.refuse(name, format!("is longer than {most} characters"));
            return None;
        }
        Some(text.to_owned())
    }

    /// A text that must be there; empty when it is not.
    pub(crate) fn mandatory_text(&self, name: &str, most: usize) -> String {
        self.mandatory(name, self.text(name, most)).unwrap_or_default()
    }

    /// A text that must be there and not be empty.
    pub(crate) fn filled_text(&self, name: &str, most: usize) -> String {
        let text = self.mandatory(name, self.text(name, most));
        if text.as_deref() == Some("") {
            self.refuse(name, "is empty");
        }
        text.unwrap_or_default()
    }

    /// A text out of several, or read by `read`.
    pub(crate) fn one_of<T>(&self, name: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let text = self.typed(name, "a string", Value::as_str)?;
        let value = read(text);
        if value.is_none() {
            self.refuse(name, format!("is not one of its values: '{}'", shortened(text)));
        }
        value
    }

    /// The same, of one that must be there.
    pub(crate) fn mandatory_one_of<T>(
        &self,
        name: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        self.mandatory(name, self.one_of(name, read))
    }

    /// One of these words; empty when it is not there.
    pub(crate) fn word(&self, name: &str, words: &[&str]) -> String {
        self.mandatory_one_of(name, |text| words.contains(&text).then(|| text.to_owned()))
            .unwrap_or_default()
    }

    pub(crate) fn boolean(&self, name: &str) -> Option<bool> {
        self.typed(name, "true or false", Value::as_bool)
    }

    /// A whole number up to `most`.
    pub(crate) fn whole(&self, name: &str, most: u64) -> Option<u64> {
        let what = format!("a whole number from 0 to {most}");
        self.typed(name, &what, |value| value.as_u64().filter(|number| *number <= most))
    }

    /// The same, of one that must be there; 0 when it is not.
    pub(crate) fn mandatory_whole(&self, name: &str, most: u64) -> u64 {
        self.mandatory(name, self.whole(name, most)).unwrap_or_default()
    }

    pub(crate) fn object(&self, name: &str) -> Option<Self> {
        let members = self.typed(name, "an object", Value::as_object)?;
        Some(Self { members, at: self.place(name), broken: self.broken })
    }

    pub(crate) fn mandatory_object(&self, name: &str) -> Option<Self> {
        self.mandatory(name, self.object(name))
    }

    /// A list of objects.
    pub(crate) fn objects(&self, name: &str) -> Option<Vec<Self>> {
        let list = self.typed(name, "a list", Value::as_array)?;
        let mut objects = Vec::with_capacity(list.len());
        for (index, item) in list.iter().enumerate() {
            let at = format!("{}[{index}]", self.place(name));
            match item.as_object() {
                Some(members) => objects.push(Self { members, at, broken: self.broken }),
                None => self.refuse(&format!("{name}[{index}]"), "must be an object"),
            }
        }
        Some(objects)
    }

    /// A list of texts, each of which `holds`.
    pub(crate) fn texts(&self, name: &str, holds: impl Fn(&str) -> bool) -> Option<Vec<String>> {
        let list = self.typed(name, "a list", Value::as_array)?;
        let mut texts = Vec::with_capacity(list.len());
        for (index, item) in list.iter().enumerate() {
            match item.as_str() {
                Some(text) if holds(text) => texts.push(text.to_owned()),
                _ => self.refuse(&format!("{name}[{index}]"), "is not valid"),
            }
        }
        Some(texts)
    }

    /// Those of these members that are there.
    pub(crate) fn given(&self, names: &[&'static str]) -> Vec<&'static str> {
        names.iter().copied().filter(|name| self.any(name).is_some()).collect()
    }

    /// All members, without those that are `null`.
    pub(crate) fn document(&self) -> Map<String, Value> {
        let there = self.members.iter().filter(|(_, value)| !value.is_null());
        there.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

/// The first characters of a text a client sent, for an answer.
fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn bodies_are_single_objects_without_repetition() {
        for body in
            ["", "null", "[]", "7", "{", "{} {}", r#"{"a":1,"a":2}"#, r#"{"x":{"a":1,"a":1}}"#]
        {
            assert_eq!(object(body.as_bytes()).unwrap_err().status, 400, "{body}");
        }
        let deep = format!("{{\"a\":{}", "[".repeat(100_000));
        assert!(object(deep.as_bytes()).is_err());
        let kept = r#"{"a":[1,-2,1.5,"x",true,null,{"b":{}}]}"#;
        assert_eq!(Value::Object(object(kept.as_bytes()).unwrap()).to_string(), kept);
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let body = object(
            br#"{"t":7,"long":"xxx","w":"?","n":1.0,"big":300,"o":[],"l":[1,"y"],"null":null,"s":{"t":1}}"#,
        )
        .unwrap();
        let broken = Broken::default();
        let reader = Reader::new(&body, &broken);
        reader.text("t", 9);
        reader.text("long", 2);
        reader.word("w", &["A"]);
        reader.whole("n", 9);
        reader.whole("big", 255);
        reader.object("o");
        reader.texts("l", |_| true);
        reader.mandatory_text("null", 9);
        reader.object("s").unwrap().boolean("t");
        assert_eq!(reader.text("none", 1), None);
        let refusal = broken.unless(()).unwrap_err();
        let told: Vec<&str> = refusal.invalid.iter().map(|one| one.param.as_str()).collect();
        assert_eq!(told, ["t", "long", "w", "n", "big", "o", "l[0]", "null", "s.t"]);
        assert_eq!(refusal.detail, "t must be a string");
    }
}
