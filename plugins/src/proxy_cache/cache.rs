//! [`Answers`]: what is kept, bounded in bytes.

use std::sync::Arc;

use bytes::Bytes;
use pingora_http::ResponseHeader;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde_json::{Map, Value, json};

use crate::contract::Tools;

/// One kept answer.
pub(super) struct Answer {
    /// Its head, less what is said of one connection only.
    pub(super) head: ResponseHeader,
    pub(super) body: Bytes,
    /// When it was kept, Unix seconds.
    pub(super) kept_at: u64,
    /// Seconds it is good for.
    pub(super) good_for: u64,
    /// When it is forgotten, Unix seconds.
    pub(super) gone_at: u64,
}

/// The answers of this process.
pub(super) struct Answers(Cache<Place, Arc<Answer>, Size>);

/// A memory and a key in it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) memory: Arc<str>,
    pub(super) key: String,
}

/// Bytes of all answers together; the size of Kong's `kong_db_cache`.
const CAPACITY: u64 = 128 * 1024 * 1024;
/// A longer body is not kept: one answer must not push out all others.
pub(super) const LONGEST: usize = 16 * 1024 * 1024;

#[derive(Clone)]
struct Size;

impl Weighter<Place, Arc<Answer>> for Size {
    fn weight(&self, place: &Place, answer: &Arc<Answer>) -> u64 {
        let headers = answer.head.headers.iter();
        let headers: usize = headers.map(|(name, value)| name.as_str().len() + value.len()).sum();
        (answer.body.len() + headers + place.key.len() + 256) as u64
    }
}

impl Answers {
    pub(super) fn of(tools: &Tools) -> Arc<Self> {
        tools.shared(|_| Self(Cache::with_weighter(10_000, CAPACITY, Size)))
    }

    /// The answer of a place that is not forgotten yet.
    pub(super) fn get(&self, place: &Place, now: u64) -> Option<Arc<Answer>> {
        self.0.get(place).filter(|answer| now < answer.gone_at)
    }

    pub(super) fn keep(&self, place: Place, answer: Answer) {
        self.0.insert(place, Arc::new(answer));
    }

    /// Whether there was one.
    pub(super) fn forget(&self, place: &Place, now: u64) -> bool {
        self.0.remove(place).is_some_and(|(_, answer)| now < answer.gone_at)
    }

    pub(super) fn forget_all(&self) {
        self.0.clear();
    }
}

impl Answer {
    /// As the Admin API shows it.
    pub(super) fn shown(&self) -> Value {
        let mut headers = Map::new();
        for (name, value) in &self.head.headers {
            let value = Value::from(String::from_utf8_lossy(value.as_bytes()));
            match headers.get_mut(name.as_str()) {
                None => drop(headers.insert(name.as_str().to_owned(), value)),
                Some(Value::Array(values)) => values.push(value),
                Some(first) => *first = vec![first.take(), value].into(),
            }
        }
        json!({
            "status": self.head.status.as_u16(),
            "headers": headers,
            "body": String::from_utf8_lossy(&self.body),
            "body_len": self.body.len(),
            "timestamp": self.kept_at,
            "ttl": self.good_for,
            "version": 1,
        })
    }
}
