//! [`Asked`]: the operations of mepauth, which is found by one table and told of by the same.

use http::{Method, StatusCode};
use serde_json::json;
use utoipa::openapi::path::HttpMethod;

use crate::auth::requests::{Body, ConfigurationView};
use crate::auth::service::TokenReply;
use crate::openapi::{Api, Described, Operation, text};
use crate::problem::Message;

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Health,
    Token,
    PutConfs,
    ShowConfs,
    DeleteConfs,
}

impl Asked {
    const ALL: [Self; 5] =
        [Self::Health, Self::Token, Self::PutConfs, Self::ShowConfs, Self::DeleteConfs];

    /// The operation a request asks for, and the segment its path has for a parameter. `path` has no
    /// slash at its end.
    pub(super) fn of<'a>(method: &Method, path: &'a str) -> Option<(Self, &'a str)> {
        let mut all = Self::ALL.into_iter().filter(|asked| asked.method() == *method);
        all.find_map(|asked| Some((asked, parameter(asked.path(), path)?)))
    }

    /// Whether it is one of the AK/SK API.
    pub(super) const fn of_confs(self) -> bool {
        matches!(self, Self::PutConfs | Self::ShowConfs | Self::DeleteConfs)
    }

    const fn method(self) -> Method {
        match self {
            Self::Health | Self::ShowConfs => Method::GET,
            Self::Token => Method::POST,
            Self::PutConfs => Method::PUT,
            Self::DeleteConfs => Method::DELETE,
        }
    }

    const fn path(self) -> &'static str {
        match self {
            Self::Health => "/health",
            Self::Token => "/mep/token",
            Self::PutConfs | Self::ShowConfs | Self::DeleteConfs => {
                "/mep/appMng/v1/applications/{appInstanceId}/confs"
            }
        }
    }

    fn told(self) -> (Api, HttpMethod, Operation) {
        const OK: StatusCode = StatusCode::OK;
        let failing = |summary: &str, statuses: &[StatusCode]| {
            let told = Operation::new(summary);
            statuses.iter().fold(told, |told, status| {
                let says = status.canonical_reason().unwrap_or("Error");
                told.responds(*status, says, Some(("text/plain", text())))
            })
        };
        let confs = |summary: &str| {
            let says = "From trusted peers, the client they speak for.";
            let statuses = [StatusCode::BAD_REQUEST, StatusCode::INTERNAL_SERVER_ERROR];
            failing(summary, &statuses)
                .header("X-Real-Ip", says)
                .fails::<Message<'static>>("application/json", &[StatusCode::FORBIDDEN])
        };
        match self {
            Self::Health => {
                let told = Operation::new("Whether the platform is well");
                (Api::Health, HttpMethod::Get, told.answers_text("It is: `ok`."))
            }
            Self::Token => {
                let statuses = [
                    StatusCode::BAD_REQUEST,
                    StatusCode::UNAUTHORIZED,
                    StatusCode::INTERNAL_SERVER_ERROR,
                ];
                let told = failing("A token for a signed request", &statuses)
                    .header("X-Sdk-Date", "When it was signed: `20261124T183503Z`.")
                    .header(
                        "Authorization",
                        "SDK-HMAC-SHA256 Access=…, SignedHeaders=…, Signature=…",
                    )
                    .answers::<TokenReply>(OK, "The token.")
                    .fails::<Message<'static>>("application/json", &[StatusCode::FORBIDDEN]);
                (Api::Tokens, HttpMethod::Post, told)
            }
            Self::PutConfs => {
                let example = json!({
                    "authInfo": {"credentials": {
                        "accessKeyId": "exampleAccessKeyId20",
                        "secretKey": "example-secret-key-".repeat(4)[..64],
                    }},
                    "appInfo": {"appName": "camera", "requiredServices": ["rni"]},
                });
                let told = confs("Gives an application its keys")
                    .takes::<Body>(example)
                    .answers::<Body>(OK, "What was set, without the secret key.");
                (Api::AccessKeys, HttpMethod::Put, told)
            }
            Self::ShowConfs => {
                let told = confs("The keys of an application, without the secret");
                let told = told.answers::<ConfigurationView<'_>>(OK, "What is set.");
                (Api::AccessKeys, HttpMethod::Get, told)
            }
            Self::DeleteConfs => {
                let told = confs("Takes the keys of an application away");
                let told = told.responds(OK, "They are gone.", Some(("application/json", text())));
                (Api::AccessKeys, HttpMethod::Delete, told)
            }
        }
    }
}

/// The segment that stands for the parameter of a pattern, empty where it has none; `None` when the
/// path does not fit.
fn parameter<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    let (mut patterns, mut segments) = (pattern.split('/'), path.split('/'));
    let mut found = "";
    loop {
        match (patterns.next(), segments.next()) {
            (None, None) => return Some(found),
            (Some(wanted), Some(segment)) if wanted.starts_with('{') => found = segment,
            (Some(wanted), Some(segment)) if wanted == segment => {}
            _ => return None,
        }
    }
}

/// What the documents tell of mepauth.
pub(crate) fn described() -> Described {
    let mut described = Described::default();
    for asked in Asked::ALL {
        let (api, method, told) = asked.told();
        described.add(api, asked.path(), [(method, told)]);
    }
    described
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_by_method_and_path() {
        let confs = "/mep/appMng/v1/applications/x/confs";
        for (method, path, wanted) in [
            (Method::GET, "/health", Some((Asked::Health, ""))),
            (Method::POST, "/mep/token", Some((Asked::Token, ""))),
            (Method::GET, "/mep/token", None),
            (Method::PUT, confs, Some((Asked::PutConfs, "x"))),
            (Method::GET, confs, Some((Asked::ShowConfs, "x"))),
            (Method::DELETE, confs, Some((Asked::DeleteConfs, "x"))),
            (Method::POST, confs, None),
            (Method::GET, "/mep/appMng/v1/applications/x/y/confs", None),
            (Method::GET, "/mep/appMng/v1/applications/confs", None),
            (Method::GET, "", None),
        ] {
            assert_eq!(Asked::of(&method, path), wanted, "{method} {path}");
        }
    }
}
