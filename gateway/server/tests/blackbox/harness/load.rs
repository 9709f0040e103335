//! Traffic that goes on while something happens, and must not notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Client;

use super::{Answered as _, Gateway, plain, trusting};

/// Clients that send until they are told to stop.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<tokio::task::JoinHandle<usize>>,
}

impl Load {
    /// Nine of them, over kept and new connections, with and without TLS, at a path that is routed.
    pub(crate) fn begin(gateway: &Gateway, path: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let fresh = Client::builder().http1_only().tls_certs_only([]).pool_max_idle_per_host(0);
        let fresh = fresh.build().expect("a client");
        let both = [
            (plain(), gateway.url("proxy", path)),
            (fresh, gateway.url("proxy", path)),
            (trusting(gateway).build().expect("a client"), gateway.tls_url("proxy", path)),
        ];
        let clients = both.iter().cycle().take(9).map(|(client, url)| {
            let (client, url, stop) = (client.clone(), url.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut answered = 0;
                while !stop.load(Ordering::Relaxed) {
                    client.get(&url).answer().await.expect(200);
                    answered += 1;
                }
                answered
            })
        });
        Self { clients: clients.collect(), stop }
    }

    /// How many requests were answered, each with 200.
    pub(crate) async fn end(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = 0;
        for client in std::mem::take(&mut self.clients) {
            all += client.await.expect("no request failed");
        }
        all
    }
}

/// A test that fails has no use for what its clients would say about it.
impl Drop for Load {
    fn drop(&mut self) {
        self.clients.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
