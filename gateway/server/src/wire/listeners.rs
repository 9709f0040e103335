//! [`Listeners`]: every socket of the process, bound before anything else is done.

use std::os::fd::{AsFd as _, BorrowedFd};

use anyhow::Result;
use mep::{Served, Servers};

use crate::gui;
use crate::handover::Inherited;
use crate::listener::{Bound, BoundNames, Datagrams};
use crate::settings::{Listen, Settings};

/// Every listener's sockets, bound before anything else is done.
pub(super) struct Listeners {
    pub(super) proxy: Vec<Bound>,
    pub(super) streams: Vec<Bound>,
    pub(super) datagrams: Vec<Datagrams>,
    pub(super) admin: Vec<Bound>,
    pub(super) status: Vec<Bound>,
    pub(super) admin_gui: Vec<Bound>,
    pub(super) mep: Vec<Bound>,
    pub(super) mep_auth: Vec<Bound>,
    pub(super) mep_dns_admin: Vec<Bound>,
    pub(super) mep_dns: Vec<BoundNames>,
}

impl Listeners {
    /// Binds all, except where another process left sockets that listen already.
    pub(super) fn bind(settings: &Settings, mut inherited: Option<&mut Inherited>) -> Result<Self> {
        let workers = settings.process.workers.threads().get();
        let all = &settings.listeners;
        let (udp, tcp): (Vec<_>, Vec<_>) = all.stream.iter().cloned().partition(|one| one.udp);
        let mut datagrams = Vec::new();
        for (at, listen) in udp.iter().enumerate() {
            let name = socket_name(DATAGRAMS, at);
            let left = inherited.as_mut().and_then(|left| left.datagrams(&name));
            datagrams.push(match left.and_then(|sockets| Datagrams::adopt(listen, sockets)) {
                Some(adopted) => adopted,
                None => Datagrams::bind("stream_listen", listen, workers)?,
            });
        }
        let mut mep_dns = Vec::new();
        for (at, listen) in all.mep_dns.iter().enumerate() {
            let left = inherited.as_mut().and_then(|left| {
                let udp = left.datagrams(&socket_name(NAMES_UDP, at))?;
                BoundNames::adopt(listen, udp, left.sockets(&socket_name(NAMES_TCP, at)))
            });
            mep_dns.push(match left {
                Some(adopted) => adopted,
                None => BoundNames::bind("mep_dns_listen", listen)?,
            });
        }
        let mut bind = |key: &str, listens: &[Listen], workers| -> Result<Vec<Bound>> {
            let bound = listens.iter().enumerate().map(|(at, listen)| {
                let left = inherited.as_mut().and_then(|left| left.sockets(&socket_name(key, at)));
                match left.and_then(|sockets| Bound::adopt(listen, sockets)) {
                    Some(adopted) => Ok(adopted),
                    None => Bound::bind(key, listen, workers),
                }
            });
            bound.collect()
        };
        Ok(Self {
            streams: bind("stream_listen", &tcp, workers)?,
            datagrams,
            proxy: bind("proxy_listen", &all.proxy, workers)?,
            admin: bind("admin_listen", &all.admin, 1)?,
            status: bind("status_listen", &all.status, 1)?,
            admin_gui: bind("admin_gui_listen", &all.admin_gui, 1)?,
            mep: bind("mep_listen", &all.mep, 1)?,
            mep_auth: bind("mep_auth_listen", &all.mep_auth, 1)?,
            mep_dns_admin: bind("mep_dns_admin_listen", &all.mep_dns_admin, 1)?,
            mep_dns,
        })
    }

    /// The sockets, as another process finds them again.
    pub(super) fn handed_over(&self) -> Vec<(String, Vec<BorrowedFd<'_>>)> {
        let groups = [
            ("proxy_listen", &self.proxy),
            ("stream_listen", &self.streams),
            ("admin_listen", &self.admin),
            ("status_listen", &self.status),
            ("admin_gui_listen", &self.admin_gui),
            ("mep_listen", &self.mep),
            ("mep_auth_listen", &self.mep_auth),
            ("mep_dns_admin_listen", &self.mep_dns_admin),
        ];
        let mut all = Vec::new();
        for (key, bound) in groups {
            for (at, bound) in bound.iter().enumerate() {
                let sockets = bound.sockets.iter().map(|one| one.as_fd()).collect();
                all.push((socket_name(key, at), sockets));
            }
        }
        for (at, bound) in self.datagrams.iter().enumerate() {
            let sockets = bound.sockets.iter().map(|one| one.as_fd()).collect();
            all.push((socket_name(DATAGRAMS, at), sockets));
        }
        for (at, bound) in self.mep_dns.iter().enumerate() {
            let udp = bound.udp.sockets.iter().map(|one| one.as_fd()).collect();
            all.push((socket_name(NAMES_UDP, at), udp));
            if let Some(tcp) = &bound.tcp {
                let tcp = tcp.sockets.iter().map(|one| one.as_fd()).collect();
                all.push((socket_name(NAMES_TCP, at), tcp));
            }
        }
        all
    }

    pub(super) fn named(&self) -> Vec<(&'static str, &Listen)> {
        let groups = [
            ("proxy", &self.proxy),
            ("stream", &self.streams),
            ("admin", &self.admin),
            ("status", &self.status),
            ("admin-gui", &self.admin_gui),
            ("mep", &self.mep),
            ("mep-auth", &self.mep_auth),
            ("mep-dns-admin", &self.mep_dns_admin),
        ];
        let connections = groups
            .into_iter()
            .flat_map(|(name, all)| all.iter().map(move |one| (name, &one.listen)));
        let datagrams = self.datagrams.iter().map(|one| ("stream", &one.listen));
        let names = self.mep_dns.iter().map(|one| ("mep-dns", &one.listen));
        connections.chain(datagrams).chain(names).collect()
    }

    /// Where the platform's faces are served.
    pub(super) fn served(&self) -> Servers {
        Servers {
            gateway: served(&self.proxy),
            mep: served(&self.mep),
            mep_auth: served(&self.mep_auth),
            dns_admin: served(&self.mep_dns_admin),
        }
    }

    /// Where the page to try them is.
    pub(super) fn pages(&self) -> Vec<Served> {
        served(&self.status)
    }

    /// The ports the Admin API really listens on.
    pub(super) fn admin_ports(&self) -> gui::Ports {
        let port = |tls: bool| {
            let mut all = self.admin.iter();
            all.find(|bound| bound.listen.ssl == tls).map(|bound| bound.addr().port())
        };
        gui::Ports { plain: port(false), tls: port(true) }
    }

    /// The port the proxy really listens on, with TLS or without.
    pub(super) fn proxy_port(&self, tls: bool) -> Option<u16> {
        self.proxy.iter().find(|bound| bound.listen.ssl == tls).map(|bound| bound.addr().port())
    }
}

/// Those with TLS come first.
fn served(all: &[Bound]) -> Vec<Served> {
    let served = |bound: &Bound| Served { tls: bound.listen.ssl, address: bound.addr() };
    let mut all: Vec<Served> = all.iter().map(served).collect();
    all.sort_by_key(|served| !served.tls);
    all
}

/// What the sockets of a listener are called when they change hands.
fn socket_name(key: &str, at: usize) -> String {
    format!("{key} {at}")
}

const DATAGRAMS: &str = "stream_listen udp";
const NAMES_UDP: &str = "mep_dns_listen udp";
const NAMES_TCP: &str = "mep_dns_listen tcp";
