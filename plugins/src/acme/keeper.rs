//! [`Keeper`]: sees to it that every name has a certificate that is good for a while.

use std::sync::Arc;
use std::time::Duration;

use gateway_model::entities::{Certificate, PluginInstance, Sni};
use gateway_model::{Catalog, Change, Clock, Document, Entity, Id, Item, Key, pem};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::names::Names;
use super::order::{Authority, Issued};
use super::storage::StorageError;
use crate::contract::Tools;

/// Sees to it that every name has a certificate that is good for a while.
pub(super) struct Keeper {
    pub(super) instance: Item<PluginInstance>,
    pub(super) names: Names,
    pub(super) authority: Authority,
    /// Seconds before its end at which a certificate is renewed.
    pub(super) threshold: u64,
    /// Seconds nothing is tried after a failure.
    pub(super) backoff: u64,
    pub(super) tools: Arc<Tools>,
}

/// How often all names are looked at. Kong does it once a day.
const ROUND: Duration = Duration::from_secs(3600);
/// How long a name that failed waits at least: authorities count failures, and five an hour are too
/// many for the best known one.
const RETRY: Duration = Duration::from_secs(900);
/// Seconds one node may be at work on a name before others think it died.
const CLAIM: u64 = 300;
/// What marks certificates as ours.
pub(super) const TAG: &str = "managed-by-acme";

impl Keeper {
    /// Looks at all names every hour, and at single ones when they are asked for, until it is
    /// dropped. Begins when the instance is served: it is built before it is stored.
    pub(super) async fn run(self: Arc<Self>, mut asked: mpsc::Receiver<String>) {
        if !self.is_served().await {
            return;
        }
        let clock = &self.tools.clock;
        let mut next = clock.unix_ms();
        loop {
            tokio::select! {
                () = reached(clock, next) => {
                    let wait = u64::try_from(self.round().await.as_millis()).unwrap_or(u64::MAX);
                    next = clock.unix_ms().saturating_add(wait);
                }
                name = asked.recv() => match name {
                    Some(name) if self.is_wanted(&name) => {
                        // Its client comes again; nobody waits for it here.
                        self.see_to(&name).await;
                    }
                    Some(_) => {}
                    None => return,
                },
            }
        }
    }

    /// Sees to all names; gives how long until the next round.
    pub(super) async fn round(&self) -> Duration {
        let mut wait = ROUND;
        for name in self.due() {
            wait = wait.min(match self.see_to(&name).await {
                Outcome::Done => ROUND,
                Outcome::Busy => Duration::from_secs(CLAIM),
                Outcome::Failed => RETRY.max(Duration::from_secs(self.backoff)),
            });
        }
        wait
    }

    /// Whether a name clients ask for is one to get a certificate for.
    fn is_wanted(&self, name: &str) -> bool {
        let catalog = self.tools.entities.catalog();
        self.names.allow(name) && catalog.is_some_and(|catalog| !is_served(&catalog, name))
    }

    /// Whether the instance is what the catalog holds.
    pub(super) fn is_current(&self) -> bool {
        let catalog = self.tools.entities.catalog();
        let found = catalog.and_then(|all| all.get::<PluginInstance>(self.instance.id()));
        found.is_some_and(|found| found.stored().json() == self.instance.stored().json())
    }

    async fn is_served(&self) -> bool {
        for _ in 0..600 {
            if self.is_current() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        false
    }

    /// The names that need a certificate now: told in full and without one, or with one of ours
    /// that ends soon.
    pub(super) fn due(&self) -> Vec<String> {
        let Some(catalog) = self.tools.entities.catalog() else { return Vec::new() };
        let without = self.names.in_full().filter(|name| !is_served(&catalog, name));
        let mut due: Vec<String> = without.map(str::to_owned).collect();
        for sni in catalog.all::<Sni>().filter(|sni| self.names.allow(&sni.name)) {
            let certificate = catalog.get::<Certificate>(sni.certificate.id);
            if certificate.is_some_and(|one| is_ours(&one) && self.ends_soon(&one.cert)) {
                due.push(sni.name.clone());
            }
        }
        due
    }

    fn ends_soon(&self, chain: &str) -> bool {
        let leaf = pem::certificates(chain).ok().and_then(|all| all.into_iter().next());
        let end = leaf.map_or(0, |leaf| u64::try_from(leaf.not_after).unwrap_or(0));
        end <= self.tools.clock.unix_seconds().saturating_add(self.threshold)
    }

    /// Gets a certificate for a name, unless another node is at it or it failed lately.
    async fn see_to(&self, name: &str) -> Outcome {
        let storage = &self.authority.storage;
        let failed = format!("kong_acme:fail_backoff:{name}");
        let claim = format!("kong_acme:update_lock:acme:{name}");
        let begun = match storage.get(&failed).await {
            Ok(Some(_)) => return Outcome::Failed,
            Ok(None) => storage.claim(&claim, CLAIM).await,
            Err(why) => Err(why),
        };
        match begun {
            Ok(true) => {}
            Ok(false) => return Outcome::Busy,
            Err(why) => {
                tracing::error!(name, %why, "cannot see to a certificate: {why}");
                return Outcome::Failed;
            }
        }
        let got = match self.found(name).await {
            Some(issued) => self.keep(name, &issued).await.map_err(|why| why.to_string()),
            None => self.obtain(name).await,
        };
        let mut written = storage.remove(&claim).await;
        let outcome = match got {
            Ok(()) => {
                tracing::info!(name, "got a certificate for {name}");
                Outcome::Done
            }
            Err(why) => {
                tracing::error!(name, %why, "got no certificate for {name}: {why}");
                if self.backoff > 0 {
                    let marked = storage.put(&failed, "placeholder", Some(self.backoff)).await;
                    written = written.and(marked);
                }
                Outcome::Failed
            }
        };
        if let Err(why) = written {
            tracing::error!(name, %why, "cannot write: {why}");
        }
        outcome
    }

    /// Gets a certificate for a name and shows it.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub(super) async fn obtain(&self, name: &str) -> Result<(), String> {
        let issued = self.authority.order(name).await.map_err(|why| why.to_string())?;
        self.keep(name, &issued).await.map_err(|why| why.to_string())?;
        // It is shown from here whether others find it or not.
        if let Err(why) = self.share(name, &issued).await {
            tracing::error!(name, %why, "others cannot find the certificate: {why}");
        }
        Ok(())
    }

    /// Puts a certificate where other nodes look, if they do not share our store
    /// (kong/plugins/acme/client.lua, store_certkey_in_storage).
    async fn share(&self, name: &str, issued: &Issued) -> Result<(), StorageError> {
        let storage = &self.authority.storage;
        if !storage.is_elsewhere() {
            return Ok(());
        }
        let value = json!({"cert": issued.chain, "key": issued.key}).to_string();
        storage.put(&shared_name(name), &value, None).await
    }

    /// A certificate another node put there, or this one before it forgot, if it is good for a while.
    async fn found(&self, name: &str) -> Option<Issued> {
        let storage = &self.authority.storage;
        if !storage.is_elsewhere() {
            return None;
        }
        let value = match storage.get(&shared_name(name)).await {
            Ok(value) => value?,
            Err(why) => {
                tracing::error!(name, %why, "cannot look for a certificate: {why}");
                return None;
            }
        };
        let Ok(Shared { cert: chain, key }) = serde_json::from_str(&value) else {
            tracing::warn!(name, "what is stored as the certificate of {name} is none");
            return None;
        };
        (!self.ends_soon(&chain)).then_some(Issued { chain, key })
    }

    /// Shows a certificate for a name from now on. The one it follows goes, if it was ours alone.
    async fn keep(&self, name: &str, issued: &Issued) -> Result<(), gateway_model::Rejection> {
        let id = Id::random();
        let certificate = json!({"id": id, "cert": issued.chain, "key": issued.key, "tags": [TAG]});
        let mut changes = vec![
            Change::Insert { kind: Certificate::KIND, document: object(certificate) },
            Change::Upsert {
                kind: Sni::KIND,
                key: Key::Unique("name", name.to_owned()),
                document: object(json!({"certificate": {"id": id}, "tags": [TAG]})),
            },
        ];
        let catalog = self.tools.entities.catalog();
        let old = catalog.as_ref().and_then(|catalog| {
            let sni = catalog.by::<Sni>("name", name)?;
            let old = catalog.get::<Certificate>(sni.certificate.id).filter(|old| is_ours(old))?;
            let alone = catalog.children::<Sni>("certificate", old.id()).count() == 1;
            alone.then(|| old.id())
        });
        changes
            .extend(old.map(|old| Change::Delete { kind: Certificate::KIND, key: Key::Id(old) }));
        self.tools.entities.apply(changes).await.map(drop)
    }
}

/// Waits until it is so late, in Unix milliseconds. A clock that is set forward, or a machine that
/// slept, is noticed within a minute; so is one set back by so much that more than a whole round is
/// left, which no round asks for: what was waited for is then thought reached.
async fn reached(clock: &Clock, unix_ms: u64) {
    const LOOK: Duration = Duration::from_secs(60);
    loop {
        let left = Duration::from_millis(unix_ms.saturating_sub(clock.unix_ms()));
        if left.is_zero() || left > ROUND {
            return;
        }
        tokio::time::sleep(LOOK.min(left)).await;
    }
}

/// What came of seeing to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It has its certificate.
    Done,
    /// Another node is at it.
    Busy,
    /// There is none, now or since a while ago.
    Failed,
}

/// The name a certificate is kept by elsewhere, as Kong does.
fn shared_name(name: &str) -> String {
    format!("kong_acme:cert_key:{name}")
}

/// What is kept by it, PEM.
#[derive(Deserialize)]
struct Shared {
    cert: String,
    key: String,
}

fn object(value: Value) -> Document {
    let Value::Object(document) = value else { unreachable!("callers give objects") };
    document
}

pub(super) fn is_ours(certificate: &Certificate) -> bool {
    certificate.tags.iter().flatten().any(|tag| tag == TAG)
}

/// Whether a name has a certificate, whoever got it.
fn is_served(catalog: &Catalog, name: &str) -> bool {
    let known = |name: &str| catalog.by::<Sni>("name", name).is_some();
    known(name) || name.split_once('.').is_some_and(|(_, rest)| known(&format!("*.{rest}")))
}
