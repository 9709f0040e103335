//! What the process reads once, at start: a file in Kong's syntax, `KONG_…` variables, options.
//!
//! The walk is `raw.rs` (texts that know their place), `values.rs` (every known key with a value of
//! the right kind), `reader.rs` and one module for each group of keys (types that cannot be wrong).
//! All faults are reported at once, each with its file and line or its variable. `keys/` is the
//! table of names, defaults and meanings, from which `conf/gateway.conf` is written.
//!
//! Deliberately absent: what may change while the process runs (that is the catalog), the loading
//! of certificates and keys (`Settings` only names them), and opening sockets.

use std::path::Path;

use gateway_model::reference::Environment;
use serde_json::Value as Json;

pub(crate) mod edge_dns;
pub(crate) mod gui;
mod keys;
pub(crate) mod listen;
pub(crate) mod logs;
pub(crate) mod mep;
pub(crate) mod names;
pub(crate) mod network;
pub(crate) mod observing;
pub(crate) mod original;
mod place;
pub(crate) mod process;
pub(crate) mod proxying;
mod raw;
mod reader;
mod scalar;
pub(crate) mod store;
pub(crate) mod tls;
pub(crate) mod traffic;
mod values;
mod vault;

pub(crate) use listen::Listen;
pub(crate) use place::{Notice, SettingsErrors};
pub(crate) use raw::RawSettings;
pub(crate) use scalar::Word;

use reader::Reader;
use values::Values;

/// Everything the process is told at start: typed, complete, valid.
///
/// It has no `Debug`, because [`Settings::all`] is made from the texts as given; its parts have,
/// with secrets hidden.
pub(crate) struct Settings {
    pub(crate) process: process::Process,
    pub(crate) logs: logs::Logs,
    pub(crate) observing: observing::Observing,
    pub(crate) listeners: Listeners,
    pub(crate) client_address: proxying::ClientAddress,
    pub(crate) tls: tls::Tls,
    pub(crate) proxying: proxying::Proxying,
    pub(crate) store: store::Store,
    pub(crate) names: names::Names,
    pub(crate) gui: gui::Gui,
    pub(crate) mep: mep::Mep,
    /// Where references to vaults lead, in entities too.
    pub(crate) environment: Environment,
    values: Values,
}

/// Where to listen; an empty list is `off`.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) proxy: Vec<Listen>,
    pub(crate) admin: Vec<Listen>,
    pub(crate) status: Vec<Listen>,
    /// TCP, TLS and UDP streams.
    pub(crate) stream: Vec<Listen>,
    /// What Kong Manager's pages are told.
    pub(crate) admin_gui: Vec<Listen>,
    /// Mp1, Mm5 and service governance.
    pub(crate) mep: Vec<Listen>,
    /// Token and AK/SK API.
    pub(crate) mep_auth: Vec<Listen>,
    /// DNS.
    pub(crate) mep_dns: Vec<Listen>,
    pub(crate) mep_dns_admin: Vec<Listen>,
}

/// One key as `GET /` of the Admin API shows it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shown {
    pub(crate) key: &'static str,
    /// `null` when unset, where Kong leaves the key out. Asterisks in place of a secret.
    pub(crate) value: Json,
    /// Whether it is one.
    pub(crate) secret: bool,
}

impl Settings {
    /// Reads file, variables and options, the later before the earlier.
    ///
    /// `file` is the one named by `-c`; without it `/etc/kong/kong.conf` and `/etc/kong.conf` are
    /// tried, and without those the defaults are served. `args` are keys with values. The notices
    /// are for the operator: keys without effect and the like.
    ///
    /// # Errors
    ///
    /// Every broken rule of every source, by place.
    pub(crate) fn load(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
        args: &[(String, String)],
    ) -> Result<(Self, Vec<Notice>), SettingsErrors> {
        Self::parse(RawSettings::read(file, env, args))
    }

    /// The prefix alone, whatever else is wrong: what commands need that only look for a process.
    ///
    /// # Errors
    ///
    /// A file that is named and cannot be read.
    pub(crate) fn prefix(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
        args: &[(String, String)],
    ) -> Result<std::path::PathBuf, SettingsErrors> {
        let raw = RawSettings::read(file, env, args);
        if let Some(file) = file.filter(|file| !file.is_file()) {
            let text = format!("no file at: {}", file.display());
            return Err(SettingsErrors(vec![place::Violation { place: None, text }]));
        }
        Ok(Values::of(raw).0.get("prefix").text.clone().into())
    }

    /// Makes typed settings of texts. Looks whether the files they name exist, and reads the
    /// original's files among them.
    ///
    /// # Errors
    ///
    /// As [`Settings::load`].
    pub(crate) fn parse(raw: RawSettings) -> Result<(Self, Vec<Notice>), SettingsErrors> {
        let (values, environment, violations, notices) = Values::of(raw);
        let mut reader = Reader::new(&values, violations, notices);

        let process = process::Process::read(&mut reader);
        let logs = logs::Logs::read(&mut reader, &process.prefix);
        let observing = observing::Observing::read(&mut reader);
        let listeners = Listeners::read(&mut reader);
        let client_address = proxying::ClientAddress::read(&mut reader);
        let tls = tls::Tls::read(&mut reader);
        let proxying = proxying::Proxying::read(&mut reader);
        let store = store::Store::read(&mut reader);
        let names = names::Names::read(&mut reader);
        let gui = gui::Gui::read(&mut reader);
        let mep =
            mep::Mep::read(&mut reader, &process.prefix, &listeners, &client_address.port_maps);

        let Reader { mut violations, notices, .. } = reader;
        if !violations.is_empty() {
            violations.sort();
            return Err(SettingsErrors(violations));
        }
        let settings = Self {
            process,
            logs,
            observing,
            listeners,
            client_address,
            tls,
            proxying,
            store,
            names,
            gui,
            mep,
            environment,
            values,
        };
        Ok((settings, notices))
    }

    /// Every key this process knows, by name, used or not, as Kong's `GET /` has it under
    /// `configuration`.
    pub(crate) fn all(&self) -> impl Iterator<Item = Shown> {
        self.values.iter().map(|value| Shown {
            key: value.key.name,
            value: value.shown(),
            secret: value.key.secret,
        })
    }
}

impl Listeners {
    const KEYS: [&str; 9] = [
        "proxy_listen",
        "admin_listen",
        "status_listen",
        "stream_listen",
        "admin_gui_listen",
        "mep_listen",
        "mep_auth_listen",
        "mep_dns_listen",
        "mep_dns_admin_listen",
    ];

    fn read(reader: &mut Reader<'_>) -> Self {
        let [proxy, admin, status, stream, admin_gui, mep, mep_auth, mep_dns, mep_dns_admin] =
            Self::KEYS.map(|key| (key, reader.listen(key)));
        let all = [
            &proxy,
            &admin,
            &status,
            &stream,
            &admin_gui,
            &mep,
            &mep_auth,
            &mep_dns,
            &mep_dns_admin,
        ];
        let entries: Vec<_> = all
            .into_iter()
            .flat_map(|(key, listens)| listens.iter().map(move |listen| (*key, listen)))
            .collect();
        for (index, (key, listen)) in entries.iter().enumerate() {
            let same = |other: &Listen| other.addr == listen.addr && other.udp == listen.udp;
            let earlier = entries[..index].iter().find(|(_, other)| same(other));
            if let Some((other, _)) = earlier.filter(|_| listen.addr.port() != 0) {
                reader.refuse(key, format!("{key}: {} is taken by {other} already", listen.addr));
            }
        }
        Self {
            proxy: proxy.1,
            admin: admin.1,
            status: status.1,
            stream: stream.1,
            admin_gui: admin_gui.1,
            mep: mep.1,
            mep_auth: mep_auth.1,
            mep_dns: mep_dns.1,
            mep_dns_admin: mep_dns_admin.1,
        }
    }
}

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;
