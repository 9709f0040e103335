//! Whom to believe about upstreams: the authorities of `lua_ssl_trusted_certificate`.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use gateway_proxy::tls::certificates;
use pem::{EncodeConfig, LineEnding, Pem as Block, encode_many_config};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;

use crate::files;
use crate::settings::Settings;
use crate::settings::tls::Trust;
use crate::startup::write_private;

/// The authorities, in the two forms connectors take them.
pub(crate) struct Trusted {
    pub(crate) roots: Arc<RootCertStore>,
    /// All of them in one file of the prefix, as Kong's `.ca_combined`.
    pub(crate) file: PathBuf,
}

impl Trusted {
    /// Reads the authorities. Those of the system that cannot be read are left out.
    ///
    /// # Errors
    ///
    /// A configured file without a certificate, or one that is no authority's.
    pub(crate) fn load(settings: &Settings) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        let mut taken = Vec::new();
        for trust in &settings.tls.trusted {
            match trust {
                Trust::System => {
                    let found = rustls_native_certs::load_native_certs();
                    for error in &found.errors {
                        tracing::warn!("an authority of the system cannot be read: {error}");
                    }
                    for authority in found.certs {
                        if roots.add(authority.clone()).is_ok() {
                            taken.push(authority);
                        }
                    }
                }
                Trust::These(pem) => {
                    const KEY: &str = "lua_ssl_trusted_certificate";
                    for authority in certificates(&files::text(pem)?).context(KEY)? {
                        roots.add(authority.clone()).context(KEY)?;
                        taken.push(authority);
                    }
                }
            }
        }
        let mut blocks: Vec<Block> = taken.iter().map(block).collect();
        if blocks.is_empty() {
            // pingora's connector cannot be made without any, even where nothing is verified.
            let nobody = certs::throwaway_authority().context("making an authority")?;
            blocks.push(block(&nobody.into()));
        }
        let text = encode_many_config(&blocks, EncodeConfig::new().set_line_ending(LineEnding::LF));
        let file = settings.process.prefix.join(".ca_combined");
        write_private(&file, text.as_bytes())?;
        Ok(Self { roots: Arc::new(roots), file })
    }
}

fn block(authority: &CertificateDer<'_>) -> Block {
    Block::new("CERTIFICATE", authority.to_vec())
}
