//! Tags: the filter of lists, and the list of tags itself.

use gateway_model::{Document, Stored};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::dispatch::Call;
use crate::{error, page};

/// Which entities a list shows by their tags.
#[derive(Debug)]
pub(crate) enum Filter {
    /// All of them.
    Everything,
    /// `a,b`: those with each of these.
    All(Vec<String>),
    /// `a/b`: those with one of these.
    Any(Vec<String>),
}

impl Filter {
    pub(crate) fn read(call: &Call<'_>) -> Result<Self, Answer> {
        let Some(text) = call.parameter("tags") else { return Ok(Self::Everything) };
        if text.is_empty() {
            return Err(error::invalid_option("tags", "cannot be null"));
        }
        let split = |by: char| text.split(by).map(str::to_owned).collect::<Vec<String>>();
        let filter = match (text.contains(','), text.contains('/')) {
            (true, true) => None,
            (_, false) => Some(Self::All(split(','))),
            (false, true) => Some(Self::Any(split('/'))),
        };
        let complete = |filter: &Self| match filter {
            Self::All(tags) | Self::Any(tags) => tags.iter().all(|tag| !tag.is_empty()),
            Self::Everything => true,
        };
        filter
            .filter(complete)
            .ok_or_else(|| error::invalid_option("tags", "invalid filter syntax"))
    }

    pub(crate) fn accepts(&self, entity: &Stored) -> bool {
        // Nothing is read where nothing is asked.
        if let Self::Everything = self {
            return true;
        }
        let document = entity.document();
        let has = |wanted: &String| tags(&document).any(|tag| tag == wanted);
        match self {
            Self::Everything => true,
            Self::All(wanted) => wanted.iter().all(has),
            Self::Any(wanted) => wanted.iter().any(has),
        }
    }
}

/// `GET /tags` and `GET /tags/{tag}`: a row for each tag of each entity, by tag.
pub(crate) fn list(call: &Call<'_>, only: Option<&str>) -> Result<Answer, Answer> {
    let size = page::size(call)?;
    let after: Option<(String, String, String)> =
        call.parameter("offset").map(page::decode).transpose()?;
    let mut rows: Vec<(String, String, String)> = Vec::new();
    for kind in call.registry().kinds().iter().filter(|kind| kind.in_api()) {
        for entity in call.catalog.collection(kind.kind).into_iter().flat_map(|all| all.iter()) {
            let document = entity.document();
            let tags = tags(&document).filter(|tag| only.is_none_or(|only| *tag == only));
            rows.extend(
                tags.map(|tag| (tag.to_owned(), kind.kind.to_owned(), entity.id().to_string())),
            );
        }
    }
    rows.sort_unstable();
    let from = after.map_or(0, |after| rows.partition_point(|row| *row <= after));
    let shown = rows[from..].iter().take(size);
    let data: Vec<Value> = shown
        .map(|(tag, kind, id)| json!({ "tag": tag, "entity_name": kind, "entity_id": id }))
        .collect();
    let more = rows.len() > from + data.len();
    let token = more.then(|| page::encode(&json!(rows[from + data.len() - 1])));
    Ok(Answer::ok(page::body(call, data, token)))
}

fn tags(document: &Document) -> impl Iterator<Item = &str> {
    document.get("tags").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}
