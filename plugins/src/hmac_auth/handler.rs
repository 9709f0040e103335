use std::time::{Duration, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gateway_model::{Clock, EntityType, Scopes, Violations};
use http::{HeaderName, header};

use super::config::{Algorithm, Config};
use super::credential::{HMACAUTH_CREDENTIALS, HmacAuthCredential};
use super::signature::Signature;
use crate::contract::{Credential, Flow, Handler, Needs, Phases, Plugin, Request, Setup};
use crate::kit::auth::{Authentication, Proof, UNAUTHORIZED};

/// One instance (kong/plugins/hmac-auth/handler.lua, access.lua).
pub(crate) struct HmacAuth {
    hide_credentials: bool,
    clock_skew: Duration,
    validate_body: bool,
    enforced: Vec<String>,
    algorithms: Vec<Algorithm>,
    authentication: Authentication,
    clock: Clock,
}

impl Plugin for HmacAuth {
    const NAME: &'static str = "hmac-auth";
    const PRIORITY: i32 = 1030;
    const PHASES: Phases = Phases::ACCESS;
    const SCOPES: Scopes = Scopes::NO_CONSUMER;
    const ENTITIES: &'static [&'static EntityType] = &[&HMACAUTH_CREDENTIALS];
    type Config = Config;

    fn build(config: Config, setup: &Setup<'_>) -> Result<Self, Violations> {
        let skew = Duration::try_from_secs_f64(config.clock_skew.unwrap_or(300.0));
        Ok(Self {
            hide_credentials: config.hide_credentials,
            clock_skew: skew.unwrap_or(Duration::MAX),
            validate_body: config.validate_request_body,
            enforced: config.enforce_headers.unwrap_or_default(),
            algorithms: config.algorithms.unwrap_or_default(),
            authentication: Authentication::new("hmac", config.realm.as_deref(), config.anonymous)?,
            clock: setup.tools.clock.clone(),
        })
    }
}

impl Handler for HmacAuth {
    fn needs(&self) -> Needs {
        if self.validate_body { Needs::BODY } else { Needs::NOTHING }
    }

    fn access<'a>(&'a self, request: &'a mut Request<'_>) -> Flow<'a> {
        self.authentication.run(request, |request| {
            let (place, proof) = self.prove(request);
            if let Some(place) = place.filter(|_| self.hide_credentials) {
                request.head.remove_header(&place);
            }
            proof
        })
    }
}

const INVALID: &str = "HMAC signature cannot be verified";
const DIFFERENT: &str = "HMAC signature does not match";
const NO_DATE: &str = "HMAC signature cannot be verified, a valid date or x-date header is \
                       required for HMAC Authentication";

type Proved = Result<Proof, &'static str>;

impl HmacAuth {
    /// Who signed, and the header that says so.
    fn prove(&self, request: &Request<'_>) -> (Option<HeaderName>, Proved) {
        let given = [header::PROXY_AUTHORIZATION, header::AUTHORIZATION];
        if given.iter().all(|name| !request.head.headers.contains_key(name)) {
            return (None, Err(UNAUTHORIZED));
        }
        if !["x-date", "date"].iter().any(|name| self.is_recent(request.header(name))) {
            return (None, Err(NO_DATE));
        }
        let read = |name: &HeaderName| Signature::read(request.header(name.as_str())?);
        match given.iter().find_map(|name| Some((name.clone(), read(name)?))) {
            Some((place, signature)) => (Some(place), self.verify(&signature, request)),
            None => (Some(header::AUTHORIZATION), Err(INVALID)),
        }
    }

    fn verify(&self, signature: &Signature<'_>, request: &Request<'_>) -> Proved {
        let signs = |wanted: &String| signature.headers.contains(&wanted.as_str());
        let algorithm = self.algorithms.iter().find(|one| one.name() == signature.algorithm);
        let algorithm = *algorithm.filter(|_| self.enforced.iter().all(signs)).ok_or(INVALID)?;
        let catalog = &request.facts.catalog;
        let credential = catalog.by::<HmacAuthCredential>("username", signature.username);
        let credential = credential.ok_or(INVALID)?;
        if !signature.is_by(credential.secret.expose(), algorithm, request.head) {
            return Err(DIFFERENT);
        }
        if self.validate_body && !is_whole(request) {
            return Err(DIFFERENT);
        }
        let identifier = credential.username.as_str().into();
        Ok(Proof {
            consumer: Some(credential.consumer.id),
            credential: Credential { id: credential.id(), identifier },
        })
    }

    fn is_recent(&self, date: Option<&str>) -> bool {
        let Some(date) = date.and_then(|date| httpdate::parse_http_date(date.trim()).ok()) else {
            return false;
        };
        let date = date.duration_since(UNIX_EPOCH).unwrap_or_default();
        // As Kong does, whole seconds are compared.
        date.abs_diff(Duration::from_secs(self.clock.unix_seconds())) <= self.clock_skew
    }
}

/// Whether the body is what its digest says. None at all needs no digest. One too large to be held
/// cannot be checked and is not believed.
fn is_whole(request: &Request<'_>) -> bool {
    let Some(body) = request.facts.body.bytes() else { return false };
    match request.header("digest") {
        None => body.is_empty(),
        Some(given) => {
            let ours = BASE64_STANDARD.encode(digest(&SHA256, body));
            given.strip_prefix("SHA-256=").is_some_and(|given| given == ours)
        }
    }
}
