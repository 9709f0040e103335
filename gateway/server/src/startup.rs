//! What a first start makes, and what every start says.

use std::fmt::Write as _;
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use gateway_control::{SealError, Sealer};
use gateway_model::Id;
use mep::Bootstrap;
use mep::auth::keyfile::RsaPrivateKey;
use mep::auth::sealing::{Sealed, SealingKey};

use crate::settings::tls::{KeyPair, Pem};
use crate::settings::{Listen, Settings};

/// Makes the prefix and the folders in it, readable by this user only.
///
/// # Errors
///
/// The folder with the system's reason.
pub(crate) fn folders(settings: &Settings) -> Result<()> {
    for folder in
        [&settings.process.prefix, &settings.process.prefix.join("pids"), &settings.mep.key_dir]
    {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("making {}", folder.display()))?;
    }
    Ok(())
}

/// The file of the embedded store.
pub(crate) fn database_file(settings: &Settings) -> PathBuf {
    settings.process.prefix.join("gateway.db")
}

/// The id of this node: as configured, else the one kept in the prefix, else a new one.
///
/// # Errors
///
/// When it cannot be kept.
pub(crate) fn node_id(settings: &Settings) -> Result<Id> {
    if let Some(id) = settings.process.node_id {
        return Ok(Id::from_bytes(id.into_bytes()));
    }
    let file = settings.process.prefix.join("node.id");
    let kept = std::fs::read_to_string(&file).ok().and_then(|text| Id::parse(text.trim()));
    match kept {
        Some(id) => Ok(id),
        None => {
            let id = Id::random();
            write_private(&file, format!("{id}\n").as_bytes())?;
            Ok(id)
        }
    }
}

/// The certificates of listeners that name none: made where missing.
///
/// # Errors
///
/// When they cannot be made or kept.
pub(crate) fn certificates(settings: &Settings) -> Result<Vec<KeyPair>> {
    if !settings.tls.proxy.is_empty() {
        return Ok(settings.tls.proxy.clone());
    }
    let made =
        certs::ensure(&settings.mep.certs, std::slice::from_ref(&settings.mep.published.host))
            .with_context(|| format!("making certificates in {}", settings.mep.certs.display()))?;
    let pair = |pair: &certs::Pair| KeyPair {
        cert: Pem::File(pair.cert.clone()),
        key: Pem::File(pair.key.clone()),
    };
    // ECDSA first: cheaper for us, and clients that only verify RSA get the other.
    Ok(vec![pair(&made.files.server_ec), pair(&made.files.server)])
}

/// The key pair tokens are signed with.
///
/// # Errors
///
/// Names the file: unreadable, encrypted with another password, or a pair that does not match.
pub(crate) fn token_key(settings: &Settings) -> Result<RsaPrivateKey> {
    let (private, public, password) = match &settings.mep.tokens.keys {
        Some(keys) => (keys.private.clone(), keys.public.clone(), keys.password.clone()),
        None => {
            let made = certs::ensure_jwt_keys(&settings.mep.key_dir).with_context(|| {
                format!("making token keys in {}", settings.mep.key_dir.display())
            })?;
            (made.private, made.public, None)
        }
    };
    let password = password.or_else(|| {
        settings.mep.bootstrap.as_ref().map(|properties| properties.jwt_key_password.clone())
    });
    let read = |path: &Path| {
        std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
    };
    let public_text = read(&public)?;
    let key = RsaPrivateKey::from_pem(
        read(&private)?.as_bytes(),
        password.as_ref().map(|password| password.expose().as_bytes()),
    )
    .with_context(|| format!("{}", private.display()))?;
    let matching = mep::auth::keyfile::RsaPublicKey::from_pem(public_text.as_bytes())
        .with_context(|| format!("{}", public.display()))?;
    anyhow::ensure!(
        key.matches(&matching),
        "{} and {} do not belong together",
        private.display(),
        public.display()
    );
    Ok(key)
}

/// The key secrets at rest are sealed with.
///
/// # Errors
///
/// When the key material is damaged or cannot be kept.
pub(crate) fn sealing_key(settings: &Settings) -> Result<Arc<SealingKey>> {
    let component = settings.mep.bootstrap.as_ref().map(|p| p.key_component.expose().as_bytes());
    let folder = settings.mep.key_dir.join("sealing");
    let key = mep::auth::key_material::open_or_create(&folder, component)
        .with_context(|| format!("key material in {}", folder.display()))?;
    Ok(Arc::new(key))
}

/// Seals the secrets of stored entities with the platform's key.
pub(crate) struct StoreSealer(pub(crate) Arc<SealingKey>);

impl Sealer for StoreSealer {
    fn seal(&self, plain: &str) -> Result<String, SealError> {
        let sealed = self.0.seal(plain.as_bytes()).map_err(|why| SealError(why.to_string()))?;
        serde_json::to_string(&sealed).map_err(|why| SealError(why.to_string()))
    }

    fn open(&self, sealed: &str) -> Result<String, SealError> {
        let sealed: Sealed =
            serde_json::from_str(sealed).map_err(|why| SealError(why.to_string()))?;
        let plain = self.0.open(&sealed).map_err(|why| SealError(why.to_string()))?;
        String::from_utf8(plain.to_vec()).map_err(|_| SealError("it is no text".to_owned()))
    }
}

/// Writes a file only this user may read; the old one stays if anything fails.
///
/// # Errors
///
/// The path with the system's reason.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let part = path.with_extension("part");
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&part, path));
    written.with_context(|| format!("writing {}", path.display()))
}

/// What is said once, when everything listens.
pub(crate) struct Summary<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) listeners: &'a [(&'static str, &'a Listen)],
    pub(crate) state: String,
    pub(crate) seconds: f64,
    /// Shown once in the life of an installation.
    pub(crate) first_app: Option<Bootstrap>,
}

impl Summary<'_> {
    /// The lines for the operator.
    pub(crate) fn text(&self) -> String {
        let mut out = format!(
            "gateway {} (Kong {} compatible) ready in {:.2} s\n",
            env!("CARGO_PKG_VERSION"),
            plugins::KONG_VERSION,
            self.seconds
        );
        for (name, listen) in self.listeners {
            let scheme = match (*name, listen.ssl, listen.udp) {
                ("stream", _, true) => "udp",
                ("stream", true, _) => "tls",
                ("stream", ..) => "tcp",
                ("mep-dns", ..) => "dns",
                (_, true, _) => "https",
                (_, false, _) => "http",
            };
            let h2 = if listen.http2 { "  (HTTP/2)" } else { "" };
            let _ = writeln!(out, "  {name:<12} {scheme}://{}{h2}", listen.addr);
        }
        let _ = writeln!(out, "  {:<12} {}", "state", self.state);
        let _ = writeln!(out, "  {:<12} {}", "certificates", self.settings.mep.certs.display());
        if let Some(app) = &self.first_app {
            let _ = writeln!(out, "\nA first app was made; its secret key is shown only now:");
            let _ = writeln!(out, "  APP_INST_ID={}", app.app_instance_id);
            let _ = writeln!(out, "  ACCESS_KEY={}", app.access_key);
            let _ = writeln!(out, "  SECRET_KEY={}", app.secret_key.expose());
        }
        let find = |wanted: &str, tls: bool| {
            let mut all = self.listeners.iter();
            all.find(|(name, listen)| *name == wanted && listen.ssl == tls)
                .map(|(_, listen)| listen.addr.to_string())
        };
        let _ = writeln!(out, "\nTry next:");
        let _ = writeln!(out, "  gateway demo");
        if let Some(admin) = find("admin", false) {
            let _ = writeln!(out, "  curl http://{admin}/services");
        }
        if let Some(status) = find("status", false) {
            let _ = writeln!(out, "  curl http://{status}/metrics");
        }
        out
    }
}
