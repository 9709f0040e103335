//! Certificates and keys for a platform that has none yet.
//!
//! [`ensure`] completes a folder with a development authority, two server certificates and one
//! client certificate; [`ensure_jwt_keys`] does the same for the pair that signs tokens. Both
//! create what is missing and never write over a file: what an operator put there stays.
//!
//! Absent on purpose: renewal (an expired certificate is reported by [`Made::expires`], replacing
//! it is the operator's decision) and encrypted private keys.

use std::io;
use std::path::{Path, PathBuf};

use time::OffsetDateTime;

mod create;
mod issue;
mod jwt;

pub use jwt::{JwtKeyFiles, RsaPem, ensure_jwt_keys, generate_rsa_pem};

/// Names every server certificate carries, besides those the caller adds: the loopback names, the
/// server name EdgeGallery's clients send, and the cluster names they connect to.
pub const SERVER_NAMES: [&str; 7] = [
    "localhost",
    "127.0.0.1",
    "::1",
    issue::COMMON_NAME,
    "mep-api-gw.mep",
    "mepauth.mep",
    "mep-mm5.mep",
];

/// Where the files of one folder are. Certificates are PEM, keys PKCS#8 PEM without encryption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The development authority; what a client is told to trust.
    pub ca: Pair,
    /// RSA, 2048 bits: EdgeGallery's clients offer no other key exchange than `ECDHE_RSA`.
    pub server: Pair,
    /// ECDSA P-256 for the same names, cheaper for every client that takes it.
    pub server_ec: Pair,
    /// ECDSA P-256, for a client that has to show one.
    pub client: Pair,
}

impl Files {
    /// The file names inside a folder, whether they exist or not.
    pub fn within(dir: &Path) -> Self {
        let pair = |stem: &str| Pair {
            cert: dir.join(format!("{stem}.crt")),
            key: dir.join(format!("{stem}.key")),
        };
        Self {
            ca: pair("ca"),
            server: pair("server"),
            server_ec: pair("server-ec"),
            client: pair("client"),
        }
    }

    fn pairs(&self) -> [&Pair; 4] {
        [&self.ca, &self.server, &self.server_ec, &self.client]
    }
}

/// One certificate and its private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificate, mode 0644 when made here.
    pub cert: PathBuf,
    /// The private key, mode 0600 when made here.
    pub key: PathBuf,
}

/// What [`ensure`] found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The folder's files; all of them exist now, but for the key of an authority that is only
    /// trusted (see [`ensure`]).
    pub files: Files,
    /// What was written by this call, in that order.
    pub created: Vec<PathBuf>,
    /// When each certificate ends, those found included. A file this crate cannot read as a
    /// certificate is left out: it may be one that only the TLS stack accepts.
    pub expires: Vec<(PathBuf, OffsetDateTime)>,
}

/// Completes `dir` with every file of [`Files`] that is missing, creating the folder if need be.
///
/// The server certificates are for [`SERVER_NAMES`] and `names`, each a host name or an IP
/// address. Names of a certificate that exists already are not looked at. A key without a
/// certificate gets one. An authority's certificate without its key is enough as long as nothing
/// has to be signed.
///
/// Takes one RSA key generation at most, so some tens of milliseconds; an order less when only
/// elliptic keys are missing. Two processes may do this at once: each file is made once.
///
/// # Errors
///
/// - [`CertsError::KeyMissing`] when a certificate is there without the key it needs.
/// - [`CertsError::Make`] for a name that cannot stand in a certificate, or an unusable key.
/// - [`CertsError::File`] when the folder or a file cannot be read or written.
pub fn ensure(dir: &Path, names: &[String]) -> Result<Made, CertsError> {
    create::folder(dir)?;
    let files = Files::within(dir);
    let mut created = Vec::new();
    issue::complete(&files, names, &mut created)?;
    let expires = files
        .pairs()
        .into_iter()
        .filter_map(|pair| Some((pair.cert.clone(), issue::expiry(&pair.cert)?)))
        .collect();
    Ok(Made { files, created, expires })
}

/// The certificate, DER, of an authority whose key is gone: it vouches for nothing, ever. For
/// libraries that insist on believing somebody.
///
/// # Errors
///
/// When the library cannot make it.
pub fn throwaway_authority() -> Result<Vec<u8>, rcgen::Error> {
    issue::throwaway_authority()
}

/// Why keys or certificates could not be provided.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertsError {
    /// A file or folder could not be read or written.
    #[error("{doing} {}", path.display())]
    File {
        /// "reading", "writing", …
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// A certificate or public key is there, its private key is not, and one cannot be made to
    /// fit.
    #[error("{} is there, but its private key {} is not", public.display(), key.display())]
    KeyMissing {
        /// The file that exists.
        public: PathBuf,
        /// The file that is needed.
        key: PathBuf,
    },
    /// A key or certificate could not be made or understood.
    #[error("making {}", path.display())]
    Make {
        /// The file it is for, or came from.
        path: PathBuf,
        /// What the certificate library said.
        #[source]
        cause: rcgen::Error,
    },
}

#[cfg(test)]
mod tests;
