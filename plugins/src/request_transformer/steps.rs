//! [`Steps`]: what is to be changed of one part of a request, prepared and rendered.

use gateway_model::Violations;
use serde_json::Value;

use super::config::split;
use crate::kit::expression::Scope;
use crate::kit::template::Template;

/// A change of one part, with `V` for values.
#[derive(Debug)]
pub(super) enum Step<V> {
    Remove(String),
    Rename(String, V),
    Replace(String, V),
    Add(String, V),
    Append(String, V),
}

/// The changes of one part, in order.
#[derive(Debug)]
pub(super) struct Steps(Vec<Step<Template>>);

/// The five lists of a part, in the order they are worked off.
pub(super) struct Lists<'c> {
    pub(super) part: &'static str,
    pub(super) remove: &'c [String],
    pub(super) rename: &'c [String],
    pub(super) replace: &'c [String],
    pub(super) add: &'c [String],
    pub(super) append: &'c [String],
}

/// A step of a name and its rendered value.
type MakeStep = fn(String, Vec<u8>) -> Step<Vec<u8>>;

impl Steps {
    /// Templates that cannot be had are added to `violations`, by list and position.
    pub(super) fn prepare(lists: &Lists<'_>, violations: &mut Violations) -> Self {
        let name = |pair: &String| Step::Remove(split(pair).0.to_owned());
        let mut steps: Vec<Step<Template>> = lists.remove.iter().map(name).collect();
        let mut read = |list: &str, pairs: &[String], step: fn(String, Template) -> _| {
            let mut problems = vec![Value::Null; pairs.len()];
            for (pair, problem) in pairs.iter().zip(&mut problems) {
                let (name, value) = split(pair);
                match Template::parse(value) {
                    Ok(template) => steps.push(step(name.to_owned(), template)),
                    Err(why) => {
                        let text =
                            format!("value '{value}' is not in supported format, error:{why}");
                        *problem = text.into();
                    }
                }
            }
            if problems.iter().any(|problem| !problem.is_null()) {
                violations.add(&format!("{list}.{}", lists.part), problems.into());
            }
        };
        read("rename", lists.rename, Step::Rename);
        read("replace", lists.replace, Step::Replace);
        read("add", lists.add, Step::Add);
        read("append", lists.append, Step::Append);
        Self(steps)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The changes with their values for one request. A pair without a value changes nothing and
    /// is left out (only headers may have such).
    ///
    /// # Errors
    ///
    /// What a template fails with.
    pub(super) fn render(&self, scope: &dyn Scope) -> Result<Vec<Step<Vec<u8>>>, String> {
        let mut rendered = Vec::with_capacity(self.0.len());
        for step in &self.0 {
            let (name, template, make): (_, _, MakeStep) = match step {
                Step::Remove(name) => {
                    rendered.push(Step::Remove(name.clone()));
                    continue;
                }
                Step::Rename(name, template) => (name, template, Step::Rename),
                Step::Replace(name, template) => (name, template, Step::Replace),
                Step::Add(name, template) => (name, template, Step::Add),
                Step::Append(name, template) => (name, template, Step::Append),
            };
            if template.fixed() == Some(b"") {
                continue;
            }
            rendered.push(make(name.clone(), template.render(scope)?));
        }
        Ok(rendered)
    }

    /// Whether a value depends on the request.
    pub(super) fn has_templates(&self) -> bool {
        self.0.iter().any(|step| match step {
            Step::Remove(_) => false,
            Step::Rename(_, template)
            | Step::Replace(_, template)
            | Step::Add(_, template)
            | Step::Append(_, template) => template.fixed().is_none(),
        })
    }
}
