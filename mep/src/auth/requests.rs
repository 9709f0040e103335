//! The bodies of the API that configures key pairs, `/mep/appMng/v1/applications/{app}/confs`: what
//! is read, what is shown, and why something is refused.
//!
//! Who may call it, and where key pairs are kept, is decided elsewhere.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::credential::{AccessKey, AppInstanceId, SecretKey};
use crate::dialect::casefold;

/// A key pair with what belongs to it, as a `PUT` sets it.
#[derive(Clone, Debug)]
pub struct KeyConfiguration {
    /// The access key.
    pub access_key: AccessKey,
    /// The secret key.
    pub secret_key: SecretKey,
    /// The app's name; empty when none was given.
    pub app_name: String,
    /// The services the app may discover; `None` when none were named, which is not an empty list.
    pub required_services: Option<Vec<String>>,
}

impl KeyConfiguration {
    /// Reads the body of a `PUT`. Keys match in any case, unknown ones are ignored.
    ///
    /// # Errors
    ///
    /// [`ConfigurationRefusal::Body`] when it is not JSON of the expected shape, `null` included, and
    /// [`ConfigurationRefusal::Keys`] when a key is missing or not well-formed.
    pub fn parse(body: &[u8]) -> Result<Self, ConfigurationRefusal> {
        let Body { auth_info, app_info } = casefold::from_slice(body)
            .map_err(|error| ConfigurationRefusal::Body(error.to_string()))?;
        let Credentials { access_key_id, secret_key } = auth_info.credentials;
        Ok(Self {
            access_key: AccessKey::parse(&access_key_id).map_err(|_| ConfigurationRefusal::Keys)?,
            secret_key: SecretKey::parse(&secret_key).map_err(|_| ConfigurationRefusal::Keys)?,
            app_name: app_info.app_name,
            required_services: app_info.required_services,
        })
    }

    /// The list of services in the form it is stored and shown in: JSON text, `null` when none were
    /// named.
    pub fn required_services_text(&self) -> String {
        serde_json::json!(self.required_services).to_string()
    }

    /// The reply to a `PUT`: the accepted structure. The secret key is left empty unless
    /// `with_secret`; the original sent it back in clear.
    pub fn echo(&self, with_secret: bool) -> impl Serialize + use<> {
        let secret_key = if with_secret { self.secret_key.expose() } else { "" };
        Body {
            auth_info: AuthInfo {
                credentials: Credentials {
                    access_key_id: self.access_key.as_str().to_owned(),
                    secret_key: secret_key.to_owned(),
                },
            },
            app_info: AppInfo {
                app_name: self.app_name.clone(),
                required_services: self.required_services.clone(),
            },
        }
    }
}

/// The reply to a `GET`: one stored configuration.
///
/// The members `sk` and `nonce` are there for old readers and always empty; the original showed what
/// was stored in them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = edgegallery::KeyConfigurationView)]
pub struct ConfigurationView<'a> {
    #[schema(value_type = String)]
    app_ins_id: &'a AppInstanceId,
    #[schema(value_type = String)]
    ak: &'a AccessKey,
    sk: &'static str,
    nonce: &'static str,
    app_name: &'a str,
    required_services: &'a str,
}

impl<'a> ConfigurationView<'a> {
    /// Shows a configuration; `required_services` is its stored text, shown as `[]` when empty.
    pub fn new(
        app_instance: &'a AppInstanceId,
        access_key: &'a AccessKey,
        app_name: &'a str,
        required_services: &'a str,
    ) -> Self {
        Self {
            app_ins_id: app_instance,
            ak: access_key,
            sk: "",
            nonce: "",
            app_name,
            required_services: if required_services.is_empty() { "[]" } else { required_services },
        }
    }
}

/// Why a call of this API was refused. The text is the reply: a JSON string.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigurationRefusal {
    /// `PUT` for what is no app instance id.
    #[error("Invalid input for application instance ID")]
    AppInstanceId,
    /// `GET` or `DELETE` for what is no app instance id.
    #[error("Application Instance ID validation failed")]
    AppInstanceIdRead,
    /// The access key or the secret key is not well-formed, or the access key is another app's.
    #[error("Invalid input for ak or sk")]
    Keys,
    /// The body is not JSON of the expected shape; holds the parser's text, which may quote the body:
    /// it is for the caller, not for a log.
    #[error("{0}")]
    Body(String),
    /// Nothing is stored for this app instance.
    #[error("<QuerySeter> no row found")]
    Unknown,
    /// It could not be stored.
    #[error("Error while saving configuration")]
    Store,
}

impl ConfigurationRefusal {
    /// The HTTP status to answer with.
    pub fn status(&self) -> http::StatusCode {
        match self {
            Self::Store => http::StatusCode::INTERNAL_SERVER_ERROR,
            _ => http::StatusCode::BAD_REQUEST,
        }
    }
}

/// Serialized in this order too, which is the original's.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(as = edgegallery::KeyConfiguration)]
pub(crate) struct Body {
    auth_info: AuthInfo,
    app_info: AppInfo,
}

#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(default)]
#[schema(as = edgegallery::AuthInfo)]
struct AuthInfo {
    credentials: Credentials,
}

#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(as = edgegallery::Credentials)]
struct Credentials {
    access_key_id: String,
    secret_key: String,
}

#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(as = edgegallery::AppInfo)]
struct AppInfo {
    app_name: String,
    required_services: Option<Vec<String>>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::dialect::json;

    const ACCESS_KEY: &str = "AbCdEfGhIjKlMnOpQr+=";

    fn body(access_key: &str, secret_key: &str, app_info: &str) -> String {
        format!(
            r#"{{"authInfo":{{"credentials":{{"accessKeyId":"{access_key}","secretKey":"{secret_key}"}}}}{app_info}}}"#
        )
    }

    fn good(app_info: &str) -> KeyConfiguration {
        KeyConfiguration::parse(body(ACCESS_KEY, &"s".repeat(64), app_info).as_bytes()).unwrap()
    }

    #[test]
    fn a_whole_body_is_read_and_echoed() {
        let app_info = r#","appInfo":{"appName":"app","requiredServices":["serviceA","serviceB"]}"#;
        let configuration = good(app_info);
        assert_eq!(configuration.app_name, "app");
        assert_eq!(configuration.required_services_text(), r#"["serviceA","serviceB"]"#);
        assert_eq!(
            json::to_string(&configuration.echo(false)).unwrap(),
            body(ACCESS_KEY, "", app_info)
        );
        assert_eq!(
            json::to_string(&configuration.echo(true)).unwrap(),
            body(ACCESS_KEY, &"s".repeat(64), app_info)
        );
    }

    #[test]
    fn what_is_not_given_is_shown_as_nothing() {
        let check = |app_info: &str, name: &str, services: &str| {
            let configuration = good(app_info);
            assert_eq!(configuration.required_services_text(), services, "{app_info}");
            assert_eq!(
                json::to_string(&configuration.echo(false)).unwrap(),
                body(
                    ACCESS_KEY,
                    "",
                    &format!(r#","appInfo":{{"appName":"{name}","requiredServices":{services}}}"#)
                )
            );
        };
        check("", "", "null");
        check(r#","appInfo":null"#, "", "null");
        check(r#","appInfo":{}"#, "", "null");
        check(r#","APPINFO":{"APPNAME":"a","REQUIREDSERVICES":[]},"other":1"#, "a", "[]");
    }

    #[test]
    fn bad_keys_are_refused() {
        let check = |body: &str| {
            let refusal = KeyConfiguration::parse(body.as_bytes()).unwrap_err();
            assert_eq!(refusal, ConfigurationRefusal::Keys, "{body}");
            assert_eq!(refusal.to_string(), "Invalid input for ak or sk");
            assert_eq!(refusal.status(), 400);
        };
        let secret = "s".repeat(64);
        check(&body("short", &secret, ""));
        check(&body(ACCESS_KEY, "short", ""));
        check(&body("", "", ""));
        check(&body(ACCESS_KEY, &secret.replace('s', "!"), ""));
        check("{}");
        check(r#"{"authInfo":{}}"#);
        check(r#"{"authInfo":null}"#);
    }

    #[test]
    fn bodies_of_another_shape_are_refused() {
        for body in ["", " ", "null", "[]", "7", "{", "nonsense", r#"{"authInfo":[]}"#, "\u{0}"] {
            let refusal = KeyConfiguration::parse(body.as_bytes()).unwrap_err();
            assert!(matches!(refusal, ConfigurationRefusal::Body(_)), "{body:?}: {refusal:?}");
            assert_eq!(refusal.status(), 400);
            assert!(!refusal.to_string().is_empty());
        }
        let number = body(ACCESS_KEY, &"s".repeat(64), "").replace("\"AbC", "7,\"AbC");
        assert!(KeyConfiguration::parse(number.as_bytes()).is_err());
    }

    #[test]
    fn a_stored_configuration_is_shown_without_its_secret() {
        let id = AppInstanceId::parse("5abe4782-2c70-4e47-9a4e-0ee3a1a0fd1f").unwrap();
        let key = AccessKey::parse(ACCESS_KEY).unwrap();
        let check = |services: &str, shown: &str| {
            let view = ConfigurationView::new(&id, &key, "initApp", services);
            assert_eq!(
                json::to_string(&view).unwrap(),
                format!(
                    r#"{{"app_ins_id":"{id}","ak":"{key}","sk":"","nonce":"","app_name":"initApp","required_services":"{shown}"}}"#
                )
            );
        };
        check("", "[]");
        check("null", "null");
        check("*", "*");
        check(r#"["serviceA"]"#, r#"[\"serviceA\"]"#);
    }

    #[test]
    fn refusals_have_the_original_s_texts() {
        let check = |refusal: ConfigurationRefusal, status: u16, body: &str| {
            assert_eq!(refusal.status(), status);
            assert_eq!(json::to_string(&refusal.to_string()).unwrap(), body);
        };
        check(
            ConfigurationRefusal::AppInstanceId,
            400,
            r#""Invalid input for application instance ID""#,
        );
        check(
            ConfigurationRefusal::AppInstanceIdRead,
            400,
            r#""Application Instance ID validation failed""#,
        );
        check(ConfigurationRefusal::Unknown, 400, r#""\u003cQuerySeter\u003e no row found""#);
        check(ConfigurationRefusal::Store, 500, r#""Error while saving configuration""#);
    }
}
