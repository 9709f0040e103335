//! Tables of other programs.

use std::str::FromStr as _;
use std::time::Duration;

use gateway_model::Document;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use super::failed;
use super::session::within;
use crate::store::StoreError;

/// Reads what a query gives: rows of one column, each a JSON object as text.
///
/// `url` is `postgres://USER:PASSWORD@HOST:PORT/DATABASE`; what it leaves out is taken from the
/// environment variables of libpq (`PGPASSWORD` ...). Nothing is written there.
///
/// # Errors
///
/// [`StoreError::Unavailable`], and [`StoreError::Damaged`] for rows that are no JSON objects. The
/// password is in neither.
pub async fn read(
    url: &str,
    query: &'static str,
    timeout: Duration,
) -> Result<Vec<Document>, StoreError> {
    let unknown = |cause: sqlx::Error| failed("reading the address", "the other database", cause);
    let options = PgConnectOptions::from_str(url).map_err(unknown)?.application_name("gateway");
    let place = format!("{}:{}", options.get_host(), options.get_port());
    let failed = |cause| failed("reading another program's table", &place, cause);
    let mut connection = within(timeout, options.connect()).await.map_err(failed)?;
    let rows: Vec<String> = within(timeout, sqlx::query_scalar(query).fetch_all(&mut connection))
        .await
        .map_err(failed)?;
    // What was read is read, however it ends.
    let _ = within(timeout, connection.close()).await;
    let damaged = |why: serde_json::Error| StoreError::Damaged {
        place: place.clone(),
        what: format!("a row is no JSON object: {why}"),
    };
    rows.iter().map(|row| serde_json::from_str(row).map_err(damaged)).collect()
}
