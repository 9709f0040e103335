//! Words to other nodes, as notifications: `SCHEMA NODE` and then a line each.

use std::sync::Arc;

use async_trait::async_trait;
use gateway_model::Id;
use tokio::sync::broadcast;

use super::Postgres;
use super::session::within;
use crate::peers::{BACKLOG, News, Peers};
use crate::store::StoreError;

/// Where words are passed on.
pub(super) const CHANNEL: &str = "gateway_peers";

/// Bytes of lines in a notification: the server takes 7,999 with what stands before them.
const MOST: usize = 7_000;

/// What other nodes tell, on its way to who listens.
pub(super) struct Words {
    /// This node, for the others and for this life of the process.
    pub(super) node: String,
    heard: broadcast::Sender<News>,
}

impl Words {
    pub(super) fn new() -> Self {
        Self { node: Id::random().to_string(), heard: broadcast::Sender::new(BACKLOG) }
    }

    /// A notification came, of this schema or another one's.
    pub(super) fn notified(&self, payload: &str, schema: &str) {
        let mut lines = payload.lines();
        let from = lines.next().and_then(|first| first.rsplit_once(' '));
        if from.is_some_and(|(of, node)| of == schema && node != self.node) {
            // An error means that nobody listens.
            lines.for_each(|line| drop(self.heard.send(News::Line(Arc::from(line)))));
        }
    }

    /// The connection is new: what was told before is lost.
    pub(super) fn missed(&self) {
        let _ = self.heard.send(News::Missed);
    }
}

#[async_trait]
impl Peers for Postgres {
    async fn tell(&self, lines: &[String]) -> Result<(), StoreError> {
        if lines.is_empty() {
            return Ok(());
        }
        let mut session = self.session().await?;
        let failed = |cause| self.failed("telling other nodes", cause);
        let told = sqlx::query(
            "SELECT pg_notify($1, current_schema()::text || ' ' || $2 || E'\\n' || lines) \
             FROM unnest($3::text[]) AS told (lines)",
        )
        .bind(CHANNEL)
        .bind(&self.words.node)
        .bind(parts(lines))
        .execute(&mut *session);
        within(self.timeout * 2, told).await.map_err(failed)?;
        session.give_back();
        Ok(())
    }

    fn heard(&self) -> broadcast::Receiver<News> {
        self.words.heard.subscribe()
    }
}

/// Lines in as few texts as notifications can take.
fn parts(lines: &[String]) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for line in lines {
        match parts.last_mut().filter(|part| part.len() + line.len() < MOST) {
            Some(part) => {
                part.push('\n');
                part.push_str(line);
            }
            None => parts.push(line.clone()),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_into_notifications() {
        let lines: Vec<String> = (0..10_000).map(|n| format!("{n:032x}")).collect();
        let parts = parts(&lines);
        assert!(parts.iter().all(|part| part.len() <= MOST) && parts.len() < 60);
        let back: Vec<&str> = parts.iter().flat_map(|part| part.lines()).collect();
        assert_eq!(back, lines);
    }
}
