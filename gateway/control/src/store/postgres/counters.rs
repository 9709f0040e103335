//! Counters that all nodes share, in a table of their own.

use std::collections::HashMap;

use gateway_model::ports::{CounterError, CounterFuture, CounterStep, CounterStore};

use super::Postgres;
use super::session::within;
use crate::store::StoreError;

impl CounterStore for Postgres {
    fn add(&self, steps: Vec<CounterStep>, now: u64) -> CounterFuture<'_> {
        Box::pin(async move {
            let told = |why: StoreError| CounterError(why.in_full());
            self.count(&steps, now).await.map_err(told)
        })
    }
}

impl Postgres {
    /// One statement that adds, one that reads. Rows are written in the order of their keys, so that
    /// two nodes never wait for one another.
    async fn count(&self, steps: &[CounterStep], now: u64) -> Result<Vec<u64>, StoreError> {
        let mut session = self.session().await?;
        let failed = |cause| self.failed("counting", cause);
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let mut added: Vec<&CounterStep> = steps.iter().filter(|step| step.by > 0).collect();
        added.sort_by(|a, b| a.key.cmp(&b.key));
        added.dedup_by(|a, b| a.key == b.key);
        let sum = |key: &str| -> u64 {
            steps.iter().filter(|step| step.key == key).map(|step| step.by).sum()
        };
        if !added.is_empty() {
            let keys: Vec<&str> = added.iter().map(|step| step.key.as_str()).collect();
            let by: Vec<i64> = added.iter().map(|step| signed(sum(&step.key))).collect();
            let expires: Vec<i64> = added.iter().map(|step| signed(step.expires)).collect();
            let write = sqlx::query(
                "WITH gone AS (DELETE FROM counters WHERE expires <= $4) \
                 INSERT INTO counters (key, value, expires) \
                 SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[]) \
                 ON CONFLICT (key) DO UPDATE SET value = counters.value + excluded.value",
            )
            .bind(keys)
            .bind(by)
            .bind(expires)
            .bind(signed(now))
            .execute(&mut *session);
            within(self.timeout * 2, write).await.map_err(failed)?;
        }
        let keys: Vec<&str> = steps.iter().map(|step| step.key.as_str()).collect();
        let read =
            sqlx::query_as("SELECT key, value FROM counters WHERE key = ANY($1) AND expires > $2")
                .bind(keys)
                .bind(signed(now))
                .fetch_all(&mut *session);
        let found: Vec<(String, i64)> = within(self.timeout * 2, read).await.map_err(failed)?;
        session.give_back();
        let found: HashMap<String, i64> = found.into_iter().collect();
        let value = |step: &CounterStep| found.get(&step.key).map_or(0, |one| one.unsigned_abs());
        Ok(steps.iter().map(value).collect())
    }
}
