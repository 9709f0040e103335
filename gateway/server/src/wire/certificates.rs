//! [`CertificateFiles`]: what each kind of listener shows.

use std::sync::Arc;

use anyhow::Result;

use crate::files::Certificates;
use crate::settings::Settings;
use crate::settings::tls::KeyPair;
use crate::startup;

/// The certificates of each kind of listener.
pub(super) struct CertificateFiles {
    pub(super) proxy: Arc<Certificates>,
    pub(super) admin: Arc<Certificates>,
    pub(super) status: Arc<Certificates>,
    pub(super) admin_gui: Arc<Certificates>,
}

impl CertificateFiles {
    /// Reads what is configured; what names no pair of its own shows the proxy's.
    pub(super) fn load(settings: &Settings) -> Result<Self> {
        let proxy = Certificates::load(startup::certificates(settings)?)?;
        let own = |pairs: &[KeyPair]| match pairs {
            [] => Ok(Arc::clone(&proxy)),
            pairs => Certificates::load(pairs.to_vec()),
        };
        let (admin, status) = (own(&settings.tls.admin)?, own(&settings.tls.status)?);
        let admin_gui = own(&settings.tls.admin_gui)?;
        Ok(Self { proxy, admin, status, admin_gui })
    }

    pub(super) fn reload(&self) -> Result<()> {
        self.proxy.reload()?;
        self.admin.reload()?;
        self.status.reload()?;
        self.admin_gui.reload()
    }
}
