//! [`Nftables`]: traffic rules as rules of the kernel's packet filter.
//!
//! Tables of our own (`ip`, `ip6`, and `netdev` where devices are configured) hold all active
//! rules. Each change replaces them whole in one transaction of the `nft` program, which takes
//! JSON (libnftables-json(5)): the kernel has either what it had before or all that is active now,
//! and the order of priorities is right without a look at what is there.
//!
//! | rule | in the kernel |
//! | --- | --- |
//! | `DROP`, `PASSTHROUGH` | `drop`, `accept`; of a flow, in both directions |
//! | `FORWARD` to an address | of a flow, `dnat`, and answers are translated back; of packets, another destination and nothing else |
//! | `FORWARD` to a hardware address | `fwd` at the devices traffic comes in by |
//! | `DUPLICATE` | `dup` of what passes; with two interfaces the first is forwarded to |
//!
//! What the kernel cannot do is refused by [`TrafficDriver::check`]: tunnels, `*_DECAPSULATED`,
//! tags, the class of a bearer. So is a rule that would match everything.

mod device;
#[cfg(test)]
mod in_kernel;
mod lowered;
mod packets;
mod program;
mod render;
mod span;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use gateway_model::Id;
use tokio::sync::Mutex;

use super::{DriverError, TrafficDriver, Unsupported};
use crate::entities::TrafficRule;
use device::Devices;
use lowered::Lowered;

/// How packets are moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NftablesSettings {
    /// The `nft` program.
    pub program: PathBuf,
    /// The name of our tables.
    pub table: String,
    /// The devices users' traffic comes in by; what forwards to hardware addresses needs them.
    pub devices: Vec<String>,
    /// Where the system lists devices.
    pub links: PathBuf,
    /// Leave the tables when the platform stops.
    pub keep: bool,
    /// How long the program may take.
    pub timeout: Duration,
}

impl Default for NftablesSettings {
    fn default() -> Self {
        Self {
            program: "nft".into(),
            table: "mep".to_owned(),
            devices: Vec::new(),
            links: "/sys/class/net".into(),
            keep: false,
            timeout: Duration::from_secs(10),
        }
    }
}

/// Gives traffic rules to the kernel.
#[derive(Debug)]
pub struct Nftables {
    settings: NftablesSettings,
    devices: Devices,
    /// What the kernel has, in its order.
    active: Mutex<BTreeMap<Place, Lowered>>,
}

/// What orders rules: the lower priority first, then as their apps have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    priority: u8,
    app: Id,
    position: u32,
    id: Id,
}

impl Place {
    const fn of(rule: &TrafficRule) -> Self {
        let TrafficRule { priority, app, position, id, .. } = rule;
        Self { priority: *priority, app: app.id, position: *position, id: *id }
    }
}

impl Nftables {
    /// A driver, once the program proves to be there and allowed to look at tables.
    ///
    /// # Errors
    ///
    /// What the program or the system says.
    pub async fn start(settings: NftablesSettings) -> Result<Self, DriverError> {
        program::run(&settings, &render::nothing()).await?;
        Ok(Self::new(settings))
    }

    fn new(settings: NftablesSettings) -> Self {
        let devices = Devices::at(settings.links.clone());
        Self { settings, devices, active: Mutex::default() }
    }

    fn lower(&self, rule: &TrafficRule) -> Result<Lowered, Unsupported> {
        Lowered::of(rule, &self.devices, !self.settings.devices.is_empty())
    }

    /// Makes the kernel have these rules and no others.
    async fn replace(&self, rules: &BTreeMap<Place, Lowered>) -> Result<(), DriverError> {
        let ruleset = render::all(&self.settings, rules.values());
        program::run(&self.settings, &ruleset).await
    }
}

#[async_trait]
impl TrafficDriver for Nftables {
    fn name(&self) -> &'static str {
        "nftables"
    }

    fn check(&self, rule: &TrafficRule) -> Result<(), Unsupported> {
        self.lower(rule).map(drop)
    }

    async fn apply(&self, rule: &TrafficRule) -> Result<(), DriverError> {
        let lowered = self.lower(rule).map_err(|why| DriverError(why.0))?;
        let mut active = self.active.lock().await;
        let mut next = active.clone();
        next.retain(|place, _| place.id != rule.id);
        next.insert(Place::of(rule), lowered);
        self.replace(&next).await?;
        *active = next;
        Ok(())
    }

    async fn withdraw(&self, rule: &TrafficRule) -> Result<(), DriverError> {
        let mut active = self.active.lock().await;
        let mut next = active.clone();
        next.retain(|place, _| place.id != rule.id);
        if next.len() != active.len() {
            self.replace(&next).await?;
            *active = next;
        }
        Ok(())
    }

    async fn reconcile(&self, rules: &[TrafficRule]) -> Result<(), DriverError> {
        let mut active = self.active.lock().await;
        let mut next = BTreeMap::new();
        let mut refused = Vec::new();
        for rule in rules {
            match self.lower(rule) {
                Ok(lowered) => drop(next.insert(Place::of(rule), lowered)),
                // It was activated with another driver or other devices.
                Err(why) => refused.push(format!("{} of {}: {why}", rule.rule_id, rule.app.id)),
            }
        }
        self.replace(&next).await?;
        *active = next;
        if refused.is_empty() { Ok(()) } else { Err(DriverError(refused.join("; "))) }
    }

    async fn stop(&self) {
        if self.settings.keep {
            return;
        }
        if let Err(why) = program::run(&self.settings, &render::gone(&self.settings)).await {
            tracing::error!(%why, "traffic rules stay in the kernel");
        }
    }
}
