//! The ear on what other nodes commit: a connection that listens, and looks from time to time.
//!
//! A notification can be lost with its connection, and some poolers pass none on. So after every
//! connect and every `poll` the number itself is read. Whatever happens to the server, this task
//! comes back to it.

use std::sync::Arc;
use std::time::Duration;

use gateway_model::Revision;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::options::Options;
use super::peers::{self, Words};
use super::session::{Setup, within};
use super::{CHANNEL, current};

/// What is known about where the store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// The highest revision heard of.
    pub(super) revision: Revision,
    /// The store went back to an earlier revision: somebody restored a copy.
    pub(super) rewound: bool,
}

/// Who is told what is heard: the writer of revisions, others of words.
pub(super) type Ears = (watch::Sender<Heard>, Arc<Words>);

/// Pause before the second attempt to listen; it doubles with each, up to the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Listens until dropped.
pub(super) async fn listen(options: Options, place: String, ears: Ears) {
    let mut pause = PAUSES.0;
    let mut away = false;
    loop {
        let mut listening = false;
        let why = session(&options, &ears, &mut listening).await.unwrap_or_else(|why| why);
        if listening {
            (pause, away) = (PAUSES.0, false);
        }
        if !away {
            warn!("not hearing of other nodes' writes: {place}: {why}");
            away = true;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// One connection, from its beginning to what ended it.
async fn session(
    options: &Options,
    (heard, words): &Ears,
    listening: &mut bool,
) -> Result<sqlx::Error, sqlx::Error> {
    let setup = Setup::of(options);
    // A listener takes its connection from a pool; this one has no other.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(options.timeout)
        .idle_timeout(None)
        .max_lifetime(None)
        .after_connect(move |connection, _| {
            let setup = setup.clone();
            Box::pin(async move { setup.apply(connection).await })
        })
        .connect_lazy_with(options.connect());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    let channels = [CHANNEL, peers::CHANNEL];
    within(options.timeout, listener.listen_all(channels)).await?;
    words.missed();
    let schema: Option<String> = within(
        options.timeout,
        sqlx::query_scalar("SELECT current_schema()::text").fetch_one(&mut listener),
    )
    .await?;
    let schema = schema.unwrap_or_default();
    loop {
        let number = within(options.timeout, current(&mut listener)).await?;
        looked(heard, number);
        if !std::mem::replace(listening, true) {
            info!(revision = %number, "listening for other nodes' writes");
        }
        let next_look = Instant::now() + options.poll;
        while let Ok(received) = timeout_at(next_look, listener.try_recv()).await {
            match received? {
                Some(notification) if notification.channel() == peers::CHANNEL => {
                    words.notified(notification.payload(), &schema);
                }
                Some(notification) => notified(heard, notification.payload(), &schema),
                None => return Ok(sqlx::Error::Io(std::io::ErrorKind::UnexpectedEof.into())),
            }
        }
    }
}

/// The number was read. Reads and notifications come over one connection, in order, so that a
/// lower number than before is no old news.
fn looked(heard: &watch::Sender<Heard>, number: Revision) {
    heard.send_if_modified(|heard| {
        let rewound = heard.rewound || number < heard.revision;
        let next = Heard { revision: number, rewound };
        std::mem::replace(heard, next) != next
    });
}

/// A notification says which schema moved, and to which revision: `public 17`.
fn notified(heard: &watch::Sender<Heard>, payload: &str, schema: &str) {
    let number = payload
        .rsplit_once(' ')
        .filter(|(of, _)| *of == schema)
        .and_then(|(_, number)| number.parse().ok());
    if let Some(number) = number {
        heard.send_if_modified(|heard| {
            let news = Revision(number) > heard.revision;
            if news {
                heard.revision = Revision(number);
            }
            news
        });
    }
}

/// The store was read at `revision`, after `before` was heard. What was heard meanwhile stays.
pub(super) fn loaded(heard: &watch::Sender<Heard>, before: Heard, revision: Revision) {
    heard.send_if_modified(|heard| {
        let next = Heard { revision: heard.revision.min(revision), rewound: false };
        *heard == before && std::mem::replace(heard, next) != next
    });
}
