//! What the platform is connected to: who moves packets, and who knows the time.

use std::sync::Arc;

use anyhow::{Context, Result};
use gateway_control::Peers;
use gateway_model::Clock;
use gateway_proxy::Resolver;
use mep::Ports;
use mep::timing::Ntp;
use mep::traffic::nftables::{Nftables, NftablesSettings};
use mep::traffic::{Idle, TrafficDriver};

use super::options;
use crate::settings::Settings;
use crate::settings::traffic::Driver;

/// What the settings name.
///
/// # Errors
///
/// A driver that cannot do its work here.
pub(super) async fn ports(
    settings: &Settings,
    clock: &Clock,
    names: Resolver,
    peers: Option<Arc<dyn Peers>>,
) -> Result<Ports> {
    let ntp = &settings.mep.ntp;
    let names = options::resolving(names);
    Ok(Ports {
        traffic: driver(settings).await?,
        time: Arc::new(Ntp::new(&ntp.host, ntp.port, Arc::clone(&names), clock.clone())),
        names,
        peers,
    })
}

async fn driver(settings: &Settings) -> Result<Arc<dyn TrafficDriver>> {
    let traffic = &settings.mep.traffic;
    if traffic.driver == Driver::None {
        return Ok(Arc::new(Idle));
    }
    let settings = NftablesSettings {
        program: traffic.nft.clone(),
        table: traffic.table.clone(),
        devices: traffic.devices.clone(),
        keep: traffic.keep,
        ..NftablesSettings::default()
    };
    let driver = Nftables::start(settings).await.context("mep_traffic_driver = nftables")?;
    Ok(Arc::new(driver))
}
