//! Forms to documents: names that nest, and types taken from the schema.
//!
//! `config.key_names[1]=a`, `tags[]=a`, repeated names, `service.name=s`. An empty value is null.
//! Text that is not of the type the schema asks for stays text and fails there
//! (kong/api/arguments.lua).

use std::collections::BTreeMap;

use gateway_model::schema::{Field, Kind, Record};
use gateway_model::{Document, EntityType, Registry};
use serde_json::{Map, Number, Value};

/// The fields a form may hold.
#[derive(Debug)]
pub(crate) struct Shape<'a> {
    registry: &'a Registry,
    kind: &'static EntityType,
    /// The plugin whose configuration is changed, unless the form names one.
    plugin: Option<&'a str>,
}

impl<'a> Shape<'a> {
    /// The fields of a kind; `current` is the entity changed, for plugins that are not named.
    pub(crate) fn new(
        registry: &'a Registry,
        kind: &'static EntityType,
        current: Option<&'a Document>,
    ) -> Self {
        let plugin = current.and_then(|document| document.get("name")).and_then(Value::as_str);
        Self { registry, kind, plugin }
    }
}

/// Members nested deeper than this stay one name, so that no form can exhaust the stack.
const DEPTH: usize = 16;

/// The document of a form.
pub(crate) fn document(members: &[(String, String)], shape: &Shape<'_>) -> Document {
    let mut tree = Tree::default();
    for (name, value) in members {
        tree.put(name, value);
    }
    let named = members.iter().find(|(name, _)| name == "name").map(|(_, value)| value.as_str());
    let plugin = named.or(shape.plugin).and_then(|name| shape.registry.plugin(name));
    tree.record(shape.kind.record(), plugin.map(|plugin| &plugin.record))
}

/// Members by name, not yet typed.
#[derive(Debug, Default)]
struct Tree(Vec<(String, Node)>);

#[derive(Debug)]
enum Node {
    Text(String),
    List(BTreeMap<usize, Node>),
    Tree(Tree),
}

/// One step of a member's name.
enum Step<'a> {
    Name(&'a str),
    Index(usize),
    Append,
}

impl Tree {
    fn put(&mut self, name: &str, value: &str) {
        let steps: Vec<Step<'_>> = name.splitn(DEPTH, '.').flat_map(steps).collect();
        let Some((Step::Name(first), rest)) = steps.split_first() else { return };
        self.put_at(first, rest, value);
    }

    fn put_at(&mut self, name: &str, rest: &[Step<'_>], value: &str) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, node)) => node.put(rest, value),
            None => self.0.push((name.to_owned(), Node::new(rest, value))),
        }
    }

    fn record(self, record: &Record, config: Option<&Record>) -> Document {
        let typed = |(name, node): (String, Node)| {
            let field = record.fields.iter().find(|field| field.name == name);
            let short = record.shorthands.iter().find(|short| short.name == name);
            let field = field.or(short.map(|short| &short.field));
            let value = match (field.map(|field| &field.kind), config, node) {
                (Some(Kind::Abstract), Some(config), Node::Tree(tree)) => {
                    Value::Object(tree.record(config, None))
                }
                (_, _, node) => node.typed(field),
            };
            (name, value)
        };
        self.0.into_iter().map(typed).collect()
    }
}

impl Node {
    fn new(steps: &[Step<'_>], value: &str) -> Self {
        match steps.split_first() {
            None => Self::Text(value.to_owned()),
            Some((Step::Name(name), rest)) => {
                Self::Tree(Tree(vec![((*name).to_owned(), Self::new(rest, value))]))
            }
            Some((Step::Index(index), rest)) => {
                Self::List(BTreeMap::from([(*index, Self::new(rest, value))]))
            }
            Some((Step::Append, rest)) => Self::List(BTreeMap::from([(1, Self::new(rest, value))])),
        }
    }

    /// Adds another value under the same name. Forms that contradict themselves (`a=1&a.b=2`)
    /// end with the later one.
    fn put(&mut self, steps: &[Step<'_>], value: &str) {
        match (&mut *self, steps.split_first()) {
            (Self::Tree(tree), Some((Step::Name(name), rest))) => tree.put_at(name, rest, value),
            (Self::List(list), Some((Step::Index(index), rest))) => match list.get_mut(index) {
                Some(node) => node.put(rest, value),
                None => {
                    list.insert(*index, Self::new(rest, value));
                }
            },
            (Self::List(list), Some((Step::Append, rest))) => {
                append(list, Self::new(rest, value));
            }
            (Self::List(list), None) => append(list, Self::Text(value.to_owned())),
            (Self::Text(first), None) => {
                let both = [std::mem::take(first), value.to_owned()].map(Self::Text);
                *self = Self::List((1..).zip(both).collect());
            }
            (Self::Text(first), Some((Step::Append, rest))) => {
                let first = Self::Text(std::mem::take(first));
                *self = Self::List(BTreeMap::from([(1, first), (2, Self::new(rest, value))]));
            }
            _ => *self = Self::new(steps, value),
        }
    }

    /// The value, as near to what the field asks for as the text allows.
    fn typed(self, field: Option<&Field>) -> Value {
        let kind = field.map(|field| &field.kind);
        match (self, kind) {
            (Self::List(list), kind) => {
                let element = match kind {
                    Some(Kind::Array(element) | Kind::Set(element)) => Some(&**element),
                    _ => None,
                };
                list.into_values().map(|node| node.typed(element)).collect()
            }
            (Self::Tree(tree), Some(Kind::Record(record))) => {
                Value::Object(tree.record(record, None))
            }
            (Self::Tree(tree), kind) => {
                let values = match kind {
                    Some(Kind::Map { values, .. }) => Some(&**values),
                    _ => None,
                };
                let typed = |(name, node): (String, Self)| (name, node.typed(values));
                Value::Object(Map::from_iter(tree.0.into_iter().map(typed)))
            }
            (Self::Text(text), _) if text.is_empty() => Value::Null,
            (Self::Text(text), Some(Kind::Array(element) | Kind::Set(element))) => {
                Value::Array(vec![Self::Text(text).typed(Some(element))])
            }
            (Self::Text(text), Some(Kind::Integer | Kind::Number)) => {
                number(&text).map_or(Value::String(text), Value::Number)
            }
            (Self::Text(text), Some(Kind::Boolean)) => match text.as_str() {
                "true" => true.into(),
                "false" => false.into(),
                _ => Value::String(text),
            },
            (Self::Text(text), _) => Value::String(text),
        }
    }
}

fn append(list: &mut BTreeMap<usize, Node>, node: Node) {
    let next = list.last_key_value().map_or(1, |(last, _)| last.saturating_add(1));
    list.insert(next, node);
}

fn number(text: &str) -> Option<Number> {
    let whole = text.parse::<i64>().ok().map(Number::from);
    whole.or_else(|| text.parse::<f64>().ok().and_then(Number::from_f64))
}

/// `paths[2]` is a name and an index, `paths[]` a name and an appended element, `a[b]` two names.
fn steps(part: &str) -> Vec<Step<'_>> {
    let Some((name, brackets)) = part.split_once('[').filter(|_| part.ends_with(']')) else {
        return vec![Step::Name(part)];
    };
    let inner = brackets.trim_end_matches(']');
    let step = match inner.parse() {
        Ok(index) => Step::Index(index),
        Err(_) if inner.is_empty() => Step::Append,
        Err(_) => Step::Name(inner),
    };
    vec![Step::Name(name), step]
}

#[cfg(test)]
mod tests {
    use gateway_model::{Registry, entities};
    use serde_json::{Value, json};

    use super::{Shape, document};

    fn check(kind: &str, form: &str, wanted: Value) {
        let registry = Registry::new(entities::ALL);
        let shape = Shape::new(&registry, registry.kind(kind).expect("is known"), None);
        let members: Vec<(String, String)> =
            form_urlencoded::parse(form.as_bytes()).into_owned().collect();
        assert_eq!(Value::Object(document(&members, &shape)), wanted, "for {form}");
    }

    #[test]
    fn names_nest_and_types_come_from_the_schema() {
        check(
            "services",
            "host=h&port=80&enabled=false",
            json!({"host": "h", "port": 80, "enabled": false}),
        );
        check("services", "port=abc&path=", json!({"port": "abc", "path": null}));
        check("services", "tags=a", json!({"tags": ["a"]}));
        check("services", "tags=a&tags=b&tags[]=c", json!({"tags": ["a", "b", "c"]}));
        check("services", "tags[2]=b&tags[1]=a&tags[]=c", json!({"tags": ["a", "b", "c"]}));
        check("services", "url=http://x&nope=1", json!({"url": "http://x", "nope": "1"}));
        check("routes", "service.name=s", json!({"service": {"name": "s"}}));
        check("routes", "service=", json!({"service": null}));
        check(
            "routes",
            "headers.X-A=1&headers.X-B[]=2",
            json!({"headers": {"X-A": ["1"], "X-B": ["2"]}}),
        );
        check(
            "routes",
            "sources[1].ip=::1&sources[1].port=5",
            json!({"sources": [{"ip": "::1", "port": 5}]}),
        );
        check("plugins", "name=x&config.a.b=1", json!({"name": "x", "config": {"a": {"b": "1"}}}));
        check("services", "a=1&a.b=2", json!({"a": {"b": "2"}}));
        check(
            "services",
            "=1&[]=2&tags[99999999999999999999]=x",
            json!({"": ["1", "2"], "tags": {"99999999999999999999": "x"}}),
        );
    }

    #[test]
    fn a_name_cannot_nest_without_end() {
        let registry = Registry::new(entities::ALL);
        let shape = Shape::new(&registry, registry.kind("services").expect("is known"), None);
        let deep = document(&[(vec!["a"; 100_000].join("."), "1".into())], &shape);
        let mut depth = 0;
        let mut value = deep.values().next();
        while let Some(Value::Object(inner)) = value {
            depth += 1;
            value = inner.values().next();
        }
        assert_eq!(depth, super::DEPTH - 1);
    }
}
