//! JSON bodies as Go's `encoding/json` reads them: object keys match field names whatever their case,
//! unknown keys are ignored, and `null` leaves a field as if it were absent.
//!
//! The names come from the type itself. Only objects read into a *struct* are matched; a free-form
//! object (a map, a `serde_json::Value`) keeps its keys as sent, at any depth. A struct with
//! `#[serde(flatten)]` is read as a map by serde, so its keys are not matched either; nor are those
//! inside untagged or internally tagged enums.
//!
//! Go matches by Unicode folding, this by ASCII; no field name of the APIs is affected. Of a field
//! given twice the last one counts, as a whole; Go would merge two objects.

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{
    DeserializeOwned, Deserializer, Error as _, IntoDeserializer, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Map, Value};

/// Reads a `T` from a JSON body, matching keys to the fields of its structs.
///
/// A key that equals one field exactly is that field, even if it resembles another one too.
///
/// # Errors
///
/// serde's, when the bytes are not one JSON value or it does not have the shape of a `T`.
pub fn from_slice<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    from_value(serde_json::from_slice(body)?)
}

/// The same for a value that is already parsed.
///
/// # Errors
///
/// serde's, when the value does not have the shape of a `T`.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    T::deserialize(Folded(value))
}

/// Deserializes like the value it holds, except for the keys of structs.
struct Folded(Value);

impl<'de> Deserializer<'de> for Folded {
    type Error = Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Value::Object(members) => Folded(Value::Object(fold(members, fields))).any(visitor),
            // serde would read a list as the fields in order; no client means that.
            Value::Array(_) => Err(Error::invalid_type(Unexpected::Seq, &visitor)),
            other => Folded(other).any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        // Values of enumerations are exact in the dialect.
        self.0.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

impl Folded {
    /// Lists and objects hand out their members folded; everything else is serde_json's.
    fn any<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(items) => {
                let mut items = SeqDeserializer::new(items.into_iter().map(Folded));
                let value = visitor.visit_seq(&mut items)?;
                items.end()?;
                Ok(value)
            }
            Value::Object(members) => {
                let members = members.into_iter().map(|(key, value)| (key, Folded(value)));
                let mut members = MapDeserializer::new(members);
                let value = visitor.visit_map(&mut members)?;
                members.end()?;
                Ok(value)
            }
            scalar => scalar.deserialize_any(visitor),
        }
    }
}

impl<'de> IntoDeserializer<'de, Error> for Folded {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Renames keys to the field they match. Keys that match none stay, so that a type may still refuse
/// them.
fn fold(members: Map<String, Value>, fields: &[&'static str]) -> Map<String, Value> {
    let mut folded = Map::new();
    for (key, value) in members {
        let field = fields
            .iter()
            .find(|field| **field == key)
            .or_else(|| fields.iter().find(|field| field.eq_ignore_ascii_case(&key)));
        match field {
            Some(_) if value.is_null() => {}
            Some(field) => {
                folded.insert((*field).to_owned(), value);
            }
            None => {
                folded.insert(key, value);
            }
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Shape {
        ser_name: String,
        count: u8,
        signed: i64,
        ratio: f64,
        local: Option<bool>,
        inner: Option<Box<Shape>>,
        list: Vec<Shape>,
        by_key: BTreeMap<String, Shape>,
        free: Value,
        tag: Tag,
        kind: Option<Kind>,
        bare: Bare,
        #[serde(rename = "BARE")]
        loud: u8,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    struct Tag(String);

    #[derive(Debug, PartialEq, Deserialize)]
    enum Kind {
        Small,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    struct Bare;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        name: String,
    }

    fn check(body: &str, expected: Shape) {
        let parsed = from_slice::<Shape>(body.as_bytes());
        assert_eq!(parsed.ok(), Some(expected), "{body}");
    }

    fn named(name: &str) -> Shape {
        Shape { ser_name: name.to_owned(), ..Shape::default() }
    }

    #[test]
    fn keys_match_in_any_case() {
        check(r#"{"serName":"a"}"#, named("a"));
        check(r#"{"SERNAME":"a"}"#, named("a"));
        check(r#"{"sername":"a","other":{"x":[1]}}"#, named("a"));
        check(r#"{"ser_name":"a"}"#, named(""));
        check("{}", named(""));
    }

    #[test]
    fn the_last_of_several_counts() {
        check(r#"{"serName":"a","SerName":"b"}"#, named("b"));
        check(r#"{"SerName":"b","serName":"a"}"#, named("a"));
        check(r#"{"serName":"a","serName":"b"}"#, named("b"));
    }

    #[test]
    fn an_exact_key_is_its_own_field() {
        let expected = Shape { loud: 3, ..Shape::default() };
        check(r#"{"BARE":3}"#, expected);
    }

    #[test]
    fn null_is_absent() {
        check(r#"{"SERNAME":null,"count":null,"local":null}"#, named(""));
        check(r#"{"serName":"a","SERNAME":null}"#, named("a"));
    }

    #[test]
    fn structs_are_matched_at_any_depth_and_free_objects_are_not() {
        let expected = Shape {
            inner: Some(Box::new(Shape { inner: Some(Box::new(named("a"))), ..Shape::default() })),
            list: vec![named("b"), named("c")],
            by_key: BTreeMap::from([("SERNAME".to_owned(), named("d"))]),
            free: serde_json::json!({"SERNAME": {"Count": null}, "list": [{"LOCAL": 1}]}),
            ..Shape::default()
        };
        check(
            r#"{"INNER":{"Inner":{"SERNAME":"a"}},
                "LIST":[{"SerName":"b"},{"sername":"c"}],
                "bykey":{"SERNAME":{"SERNAME":"d"}},
                "FREE":{"SERNAME":{"Count":null},"list":[{"LOCAL":1}]}}"#,
            expected,
        );
    }

    #[test]
    fn every_kind_of_value_arrives() {
        let expected = Shape {
            count: 255,
            signed: -9_007_199_254_740_993,
            ratio: 1.5,
            local: Some(false),
            tag: Tag("t".to_owned()),
            kind: Some(Kind::Small),
            ..Shape::default()
        };
        check(
            r#"{"COUNT":255,"SIGNED":-9007199254740993,"RATIO":1.5,"LOCAL":false,"TAG":"t","KIND":"Small"}"#,
            expected,
        );
    }

    #[test]
    fn wrong_shapes_are_errors() {
        for body in [
            "",
            "null",
            "[]",
            "7",
            "\"a\"",
            "{",
            r#"{"serName":7}"#,
            r#"{"count":256}"#,
            r#"{"count":-1}"#,
            r#"{"list":[null]}"#,
            r#"{"list":{}}"#,
            r#"{"inner":[[]]}"#,
            r#"{"kind":"small"}"#,
            "{} {}",
            "\u{feff}{}",
        ] {
            assert!(from_slice::<Shape>(body.as_bytes()).is_err(), "{body}");
        }
        assert!(from_slice::<Shape>(b"{\"serName\":\"\xff\"}").is_err());
        let deep = "[".repeat(10_000);
        assert!(from_slice::<Shape>(deep.as_bytes()).is_err());
    }

    #[test]
    fn a_type_that_refuses_unknown_keys_still_does() {
        let strict = |body: &str| from_slice::<Strict>(body.as_bytes()).ok();
        let named = Some(Strict { name: "a".to_owned() });
        assert_eq!(strict(r#"{"NAME":"a"}"#), named);
        assert_eq!(strict(r#"{"NAME":"a","other":1}"#), None);
    }
}
