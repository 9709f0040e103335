//! What nodes of one store tell each other besides heartbeats, and how all of it is heard.

use std::sync::Arc;
use std::time::Duration;

use gateway_control::{News, Peers};
use gateway_model::Clock;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Mutex, broadcast, mpsc, watch};

use crate::auth::service::{Credentials, TokenService};
use crate::auth::word::Word;
use crate::platform::over;

/// Words that wait to be told; a node that cannot tell for so long has lost its store.
const WAITING: usize = 16_384;

/// Words told at once.
const AT_ONCE: usize = 512;

/// After the others could not be told.
const PAUSE: Duration = Duration::from_millis(200);

/// Takes what others tell until nobody is left to; `hear` is told when something may be missing.
pub(crate) async fn listen(mut heard: broadcast::Receiver<News>, mut hear: impl FnMut(News)) {
    loop {
        match heard.recv().await {
            Ok(news) => hear(news),
            Err(RecvError::Lagged(_)) => hear(News::Missed),
            Err(RecvError::Closed) => return,
        }
    }
}

/// What this node has to tell of token requests. Taking a word waits for nothing; it is told as soon
/// as the store takes it.
pub(crate) struct Words {
    waiting: mpsc::Sender<Word>,
    told: Mutex<mpsc::Receiver<Word>>,
}

impl Words {
    pub(crate) fn new() -> Self {
        let (waiting, told) = mpsc::channel(WAITING);
        Self { waiting, told: Mutex::new(told) }
    }

    /// Where words go in.
    pub(crate) fn taker(&self) -> impl Fn(Word) + Send + Sync + 'static {
        let waiting = self.waiting.clone();
        move |word| {
            if waiting.try_send(word).is_err() {
                tracing::debug!("too many words wait for other nodes");
            }
        }
    }

    /// Tells the others, and has `tokens` hear them, until `shutdown` says so; there may be nobody.
    pub(crate) async fn exchange(
        &self,
        peers: Option<Arc<dyn Peers>>,
        tokens: &TokenService<impl Credentials>,
        clock: &Clock,
        mut shutdown: watch::Receiver<bool>,
    ) {
        let Some(peers) = peers else { return };
        let hear = |news: News| {
            if let News::Line(line) = news
                && let Some(word) = Word::parse(&line)
            {
                tokens.hear(&word, clock.unix_ms());
            }
        };
        tokio::select! {
            () = over(&mut shutdown) => {}
            () = self.tell(&*peers) => {}
            () = listen(peers.heard(), hear) => {}
        }
    }

    async fn tell(&self, peers: &dyn Peers) {
        let mut told = self.told.lock().await;
        let mut words = Vec::new();
        while told.recv_many(&mut words, AT_ONCE).await > 0 {
            let lines: Vec<String> = words.drain(..).map(|word| word.to_string()).collect();
            while let Err(why) = peers.tell(&lines).await {
                tracing::debug!(%why, "other nodes were not told of token requests");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
