//! Bringing in an installation of the original: its key folders and the rows of its table
//! `auth_info_record`.
//!
//! Reading the table is the caller's part, so that any export of it serves.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use zeroize::Zeroizing;

use super::credential::{AccessKey, AppInstanceId, InvalidCredential, SecretKey};
use super::key_material::{self, KeyMaterialError};
use super::sealing::{Sealed, SealingFailed, SealingKey};

/// The key material of an original installation, open for reading. Nothing in its folder is changed.
pub struct OriginalInstallation {
    folder: PathBuf,
    work_key: SealingKey,
}

impl OriginalInstallation {
    /// Opens the folder that holds `cprop`, `sprop`, `wprop` and `wnprop`, with the `KEY_COMPONENT`
    /// of its `mepauth.properties`.
    ///
    /// # Errors
    ///
    /// Those of [`key_material::open`].
    pub fn open(folder: &Path, key_component: &[u8]) -> Result<Self, KeyMaterialError> {
        let work_key = key_material::open(folder, Some(key_component))?;
        Ok(Self { folder: folder.to_owned(), work_key })
    }

    /// Decrypts one row.
    ///
    /// # Errors
    ///
    /// An [`ImportError`] that names the row. Other rows are unaffected: pods of the original lost
    /// their key folders now and then, and left rows that nothing opens.
    pub fn credential(&self, row: &OriginalRow) -> Result<ImportedCredential, ImportError> {
        let failed = |reason| ImportError { app_ins_id: row.app_ins_id.clone(), reason };
        let invalid = |error| failed(ImportFailure::Invalid(error));
        let secret = self
            .work_key
            .open(&row.secret)
            .map_err(|error| failed(ImportFailure::Unreadable(error)))?;
        let secret = std::str::from_utf8(&secret).unwrap_or_default();
        Ok(ImportedCredential {
            app_instance: AppInstanceId::parse(&row.app_ins_id).map_err(invalid)?,
            access_key: AccessKey::parse(&row.ak).map_err(invalid)?,
            secret_key: SecretKey::parse(secret).map_err(invalid)?,
            app_name: row.app_name.clone(),
            required_services: row.required_services.clone(),
        })
    }

    /// The password of the JWT private key, where the installation has stored one.
    ///
    /// # Errors
    ///
    /// [`KeyMaterialError::File`] when a file is missing, and [`KeyMaterialError::Sealing`] when the
    /// two do not open with this key material.
    pub fn jwt_key_password(&self) -> Result<Zeroizing<Vec<u8>>, KeyMaterialError> {
        let read = |name: &str| {
            let path = self.folder.join(name);
            std::fs::read(&path).map_err(|cause| KeyMaterialError::File { path, cause })
        };
        let ciphertext = read("encrypted_jwt_private_key_pwd")?;
        let nonce = read("jwt_private_key_nonce_pwd")?;
        Ok(self.work_key.open_bytes(&ciphertext, &nonce)?)
    }
}

/// One row of the original's table `auth_info_record`, by its column names.
#[derive(Clone, Debug, Deserialize)]
pub struct OriginalRow {
    /// The app instance id.
    pub app_ins_id: String,
    /// The access key.
    pub ak: String,
    /// The columns `sk` and `nonce`.
    #[serde(flatten)]
    pub secret: Sealed,
    /// The app's name.
    #[serde(default)]
    pub app_name: String,
    /// `*`, a JSON array of service names, `null`, or empty.
    #[serde(default)]
    pub required_services: String,
}

/// A row with its secret readable again and everything checked.
#[derive(Clone, Debug)]
pub struct ImportedCredential {
    /// Whose keys they are.
    pub app_instance: AppInstanceId,
    /// The access key. The original did not keep it unique; the catalog does.
    pub access_key: AccessKey,
    /// The secret key.
    pub secret_key: SecretKey,
    /// The app's name; may be empty.
    pub app_name: String,
    /// As the row has it.
    pub required_services: String,
}

/// A row that could not be imported.
#[derive(Debug, thiserror::Error)]
#[error("the row of app instance `{app_ins_id}`")]
pub struct ImportError {
    /// The row's id as stored, valid or not.
    pub app_ins_id: String,
    /// What is wrong with it.
    #[source]
    pub reason: ImportFailure,
}

/// What can be wrong with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportFailure {
    /// Its secret does not open with this key material.
    #[error("its secret was sealed with other key material")]
    Unreadable(#[source] SealingFailed),
    /// A value is not valid.
    #[error(transparent)]
    Invalid(InvalidCredential),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::fs;

    use http::HeaderMap;
    use tempfile::TempDir;

    use super::*;
    use crate::auth::signature::{Authorization, SignedRequest};

    /// The files of the contract's known answer.
    fn installation() -> (TempDir, OriginalInstallation) {
        let folder = TempDir::new().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        let ascending: Vec<u8> = (0..=255).collect();
        let descending: Vec<u8> = (0..=255).rev().collect();
        let wrapped = concat!(
            "e357028d7c9fd456472f995de3ff2dd26023222d2ba124f88b6ce31c292ff881",
            "702166001e08f4e81707e1f062d396ef"
        );
        write("cprop/c_properties", &ascending);
        write("sprop/s_properties", &descending);
        write("wprop/w_properties", &hex::decode(wrapped).unwrap());
        write("wnprop/wn_properties", &ascending[..12]);

        let opened = OriginalInstallation::open(folder.path(), &[b'a'; 256]).unwrap();
        (folder, opened)
    }

    fn row(change: impl FnOnce(&mut serde_json::Value)) -> OriginalRow {
        let mut row = serde_json::json!({
            "app_ins_id": "5abe4782-2c70-4e47-9a4e-0ee3a1a0fd1f",
            "ak": "QVUJMSUMgS0VZLS0tLS0",
            "sk": concat!(
                "dca639ba4b058d165b6120b6d9ee16d01e74d89b990f5ad3def68da980918ab5",
                "469d256cb3aa4b336cc6792b9dd67599de63e9e6e88042d27cc73108898119db",
                "e0ee951aa0eb07a337138e74f8f4a7de"
            ),
            "nonce": "0c0d0e0f1011121314151617",
            "app_name": "initApp",
            "required_services": "[\"serviceA\"]",
        });
        change(&mut row);
        serde_json::from_value(row).unwrap()
    }

    #[test]
    fn the_secret_is_recovered_and_verifies_the_first_known_answer() {
        let (_folder, installation) = installation();
        let imported = installation.credential(&row(|_| ())).unwrap();
        assert_eq!(imported.app_instance.as_str(), "5abe4782-2c70-4e47-9a4e-0ee3a1a0fd1f");
        assert_eq!(imported.app_name, "initApp");
        assert_eq!(imported.required_services, "[\"serviceA\"]");

        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json".parse().unwrap());
        headers.insert("x-sdk-date", "20220501T080000Z".parse().unwrap());
        let request = SignedRequest {
            method: "POST",
            path: "/mep/token",
            query: "",
            host: "mep.example.com:8443",
            headers: &headers,
        };
        let authorization = Authorization::parse(
            "SDK-HMAC-SHA256 Access=QVUJMSUMgS0VZLS0tLS0, \
             SignedHeaders=content-type;host;x-sdk-date, \
             Signature=05bad66145ad18e5aba24fe435016f964d8277f28cc75552c3cf7cf3db230989",
        )
        .unwrap();
        assert_eq!(imported.access_key, authorization.access_key);
        assert!(authorization.verify(imported.secret_key.expose().as_bytes(), &request));
    }

    #[test]
    fn a_bad_row_is_named() {
        let (_folder, installation) = installation();
        let check = |column: &str, value: &str, expected: &str| {
            let error = installation.credential(&row(|row| row[column] = value.into()));
            assert_eq!(error.unwrap_err().reason.to_string(), expected, "{column}");
        };
        let sealed_otherwise = "its secret was sealed with other key material";
        check("nonce", "000000000000000000000000", sealed_otherwise);
        check("sk", "00", sealed_otherwise);
        check("sk", "", sealed_otherwise);
        check("app_ins_id", "x", "an app instance id is a UUID in lower case");
        check("ak", "short", "an access key has 20 characters of 0-9, A-Z, a-z, _, +, / and =");
        // Opens, but is no secret key.
        let other = installation.work_key.seal(b"\xff").unwrap();
        let row = OriginalRow { secret: other, ..row(|_| ()) };
        let error = installation.credential(&row).unwrap_err();
        assert_eq!(error.reason, ImportFailure::Invalid(InvalidCredential::SecretKey));
        assert!(error.to_string().contains(&row.app_ins_id));
    }

    #[test]
    fn the_wrong_key_component_opens_nothing() {
        let (folder, _) = installation();
        let opened = OriginalInstallation::open(folder.path(), &[b'b'; 256]);
        assert!(matches!(opened, Err(KeyMaterialError::Mismatch { .. })));
    }

    #[test]
    fn the_jwt_key_password() {
        let (folder, installation) = installation();
        assert!(installation.jwt_key_password().is_err());
        let (ciphertext, nonce) = installation.work_key.seal_bytes(b"te9Fmv%qaq").unwrap();
        fs::write(folder.path().join("encrypted_jwt_private_key_pwd"), ciphertext).unwrap();
        assert!(installation.jwt_key_password().is_err());
        fs::write(folder.path().join("jwt_private_key_nonce_pwd"), nonce).unwrap();
        assert_eq!(installation.jwt_key_password().unwrap().as_slice(), b"te9Fmv%qaq");
    }
}
