//! Turns: the gateway and its peers take the same load one after the other, round by round, once it
//! was seen that they do the same work.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::header::AUTHORIZATION;

use super::measured;
use crate::Bench;
use crate::gateway::Gateway;
use crate::load::{Bound, Load, Traffic};
use crate::peer::{APPLICATION, Choice, REMOVED, Running, Setup, YARDSTICK};
use crate::process::Process;
use crate::report::{DIRECT, Figures, GATEWAY, Row};

/// One scenario's load, and who takes it.
pub(super) struct Turns<'a> {
    pub(super) name: &'a str,
    pub(super) setup: Setup<'a>,
    pub(super) choice: Choice,
    pub(super) load: Load,
    pub(super) bound: Bound,
    /// Whether the load is also sent to the upstream, without a proxy.
    pub(super) direct: bool,
    /// Requests that show what is about to be measured.
    pub(super) probes: Vec<Probe>,
}

/// A request that every proxy has to let through.
pub(super) struct Probe {
    /// A prefix that is let through.
    pub(super) prefix: String,
    pub(super) token: Option<String>,
    /// The application the token is for.
    pub(super) application: String,
}

/// One that takes part.
struct Contender<'a> {
    name: &'a str,
    origin: String,
    /// `None` where there is nothing between load and upstream.
    process: Option<&'a Process>,
    guarded: bool,
}

impl<'a> Turns<'a> {
    /// The gateway beside nginx as a plain proxy of everything.
    pub(super) fn beside_nginx(bench: &'a Bench, name: &'a str) -> Self {
        Self {
            name,
            setup: Setup::plain(bench, "/".to_owned()),
            choice: Choice::Yardstick,
            load: Load::Kept,
            bound: bench.bound,
            direct: false,
            probes: Vec::new(),
        }
    }

    /// Measures every round; the traffics are sent one in each, then from the first again.
    ///
    /// # Errors
    ///
    /// A proxy that does not start or does other work than it is asked, and load that fails.
    pub(super) async fn take(
        &self,
        bench: &Bench,
        gateway: Gateway,
        traffics: &[Traffic],
    ) -> Result<Vec<Row>> {
        let first = traffics.first().context("traffic")?;
        let peers = self.peers(bench, first).await?;
        let guarded = self.setup.guard.is_some();
        let mut contenders = Vec::new();
        if self.direct {
            let origin = format!("http://{}", self.setup.upstream);
            contenders.push(Contender { name: DIRECT, origin, process: None, guarded: false });
        }
        contenders.extend(peers.iter().map(|peer| Contender {
            name: &peer.name,
            origin: peer.origin(first.scheme),
            process: Some(&peer.process),
            guarded: peer.guarded,
        }));
        let origin = gateway.origin("proxy", first.scheme)?.to_owned();
        let ours = Contender { name: GATEWAY, origin, process: Some(&gateway.process), guarded };
        self.verify(&ours.origin, first, guarded).await.context(GATEWAY)?;
        contenders.push(ours);

        let mut sent = traffics.iter().cycle();
        let mut next = || sent.next().context("traffic");
        if let Some(length) = bench.warm_up {
            let traffic = next()?;
            let bound = match self.bound {
                Bound::Time(_) => Bound::Time(length),
                count @ Bound::Count(_) => count,
            };
            for Contender { origin, .. } in &contenders {
                bench.generator.send(self.load, traffic, origin, bound).await?;
            }
        }
        let mut rounds: Vec<Vec<Figures>> = contenders.iter().map(|_| Vec::new()).collect();
        for _ in 0..bench.rounds {
            let traffic = next()?;
            let mut yardstick = None;
            for (contender, figures) in contenders.iter().zip(&mut rounds) {
                let load = bench.generator.send(self.load, traffic, &contender.origin, self.bound);
                let taken = measured(self.name, contender.name, contender.process, load);
                let mut taken = taken.await.with_context(|| contender.name.to_owned())?;
                if contender.name == YARDSTICK {
                    yardstick = Some(taken);
                }
                if let Some(yardstick) = &yardstick {
                    taken.compare(yardstick);
                }
                figures.push(taken);
            }
        }
        let mut rows = Vec::new();
        for (Contender { name, process, guarded, .. }, rounds) in contenders.iter().zip(rounds) {
            let mut row = Row::new(self.name, name, rounds, *process)?;
            row.unguarded = self.setup.guard.is_some() && process.is_some() && !guarded;
            rows.push(row);
        }
        for peer in peers {
            peer.process.stop().await.with_context(|| peer.name)?;
        }
        gateway.process.stop().await.context(GATEWAY)?;
        Ok(rows)
    }

    /// Starts those that can take part. A peer of the user's that cannot is told of and left out.
    async fn peers(&self, bench: &Bench, traffic: &Traffic) -> Result<Vec<Running>> {
        let mut peers = Vec::new();
        for peer in bench.peers.chosen(self.choice) {
            let started = async {
                let running = Running::start(peer, &bench.machine, &self.setup).await?;
                self.verify(&running.origin(traffic.scheme), traffic, running.guarded).await?;
                anyhow::Ok(running)
            };
            match started.await {
                Ok(running) => peers.push(running),
                Err(why) if peer.may_be_unable() => println!("  without {}: {why:#}", peer.name()),
                Err(why) => return Err(why.context(peer.name().to_owned())),
            }
        }
        Ok(peers)
    }

    /// Sends single requests to see that a proxy does what is asked.
    async fn verify(&self, origin: &str, traffic: &Traffic, guarded: bool) -> Result<()> {
        let client = traffic.client()?;
        for Probe { prefix, token, application } in &self.probes {
            let url = format!("{origin}{prefix}");
            let get = |end: &str, token: Option<&str>| {
                let request = client.get(format!("{url}{end}")).timeout(Duration::from_secs(10));
                let token = token.map(|token| format!("Bearer {token}"));
                token.into_iter().fold(request, |it, token| it.header(AUTHORIZATION, token))
            };
            let token = token.as_deref();
            let answer = get("one", token).send().await?;
            ensure!(answer.status() == 200, "{url}: {}", answer.status());
            let removed = !answer.headers().contains_key(REMOVED);
            ensure!(removed == self.setup.guard.is_some(), "{REMOVED} is removed: {removed}");
            let body = answer.bytes().await?;
            ensure!(body.len() == crate::upstream::BODY, "{url}: a body of {}", body.len());
            if !guarded {
                continue;
            }
            let seen = get("seen", token).header(APPLICATION, "spoofed").send().await?;
            let seen = seen.text().await?.to_lowercase();
            let told: Vec<_> = seen
                .lines()
                .filter_map(|line| line.strip_prefix(&format!("{}: ", APPLICATION.to_lowercase())))
                .collect();
            ensure!(told == [application.as_str()], "the upstream saw {seen}");
            let token = token.context("a guard without a token")?;
            let (signed, signature) = token.rsplit_once('.').context("a token")?;
            let turned: String = signature.chars().rev().collect();
            let forged = format!("{signed}.{turned}");
            for (bad, token) in
                [("none", None), ("no token", Some("x")), ("forged", Some(forged.as_str()))]
            {
                let status = get("one", token).send().await?.status();
                ensure!(status == 401, "{url}, {bad}: {status}");
            }
        }
        Ok(())
    }
}
