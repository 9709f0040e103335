use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gateway_model::{EntityType, Scopes, Violations};
use http::{HeaderName, header};

use super::config::Config;
use super::credential::{BASICAUTH_CREDENTIALS, BasicAuthCredential};
use crate::contract::{Credential, Flow, Handler, Phases, Plugin, Request, Setup};
use crate::kit::auth::{Authentication, Proof, UNAUTHORIZED};

/// One instance (kong/plugins/basic-auth/handler.lua, access.lua).
pub(crate) struct BasicAuth {
    hide_credentials: bool,
    authentication: Authentication,
}

impl Plugin for BasicAuth {
    const NAME: &'static str = "basic-auth";
    const PRIORITY: i32 = 1100;
    const PHASES: Phases = Phases::ACCESS;
    const SCOPES: Scopes = Scopes::NO_CONSUMER;
    const ENTITIES: &'static [&'static EntityType] = &[&BASICAUTH_CREDENTIALS];
    type Config = Config;

    fn build(config: Config, _: &Setup<'_>) -> Result<Self, Violations> {
        let authentication = Authentication::new("Basic", Some(&config.realm), config.anonymous)?;
        Ok(Self { hide_credentials: config.hide_credentials, authentication })
    }
}

impl Handler for BasicAuth {
    fn access<'a>(&'a self, request: &'a mut Request<'_>) -> Flow<'a> {
        self.authentication.run(request, |request| {
            let proof = prove(request);
            if self.hide_credentials {
                for name in PLACES {
                    request.head.remove_header(&name);
                }
            }
            proof
        })
    }
}

/// Where credentials are looked for, in order.
const PLACES: [HeaderName; 2] = [header::PROXY_AUTHORIZATION, header::AUTHORIZATION];

fn prove(request: &Request<'_>) -> Result<Proof, &'static str> {
    let given = PLACES.iter().find_map(|name| read(request.header(name.as_str())?));
    let (username, password) = given.ok_or(UNAUTHORIZED)?;
    let credential = request
        .facts
        .catalog
        .by::<BasicAuthCredential>("username", &username)
        .filter(|credential| credential.accepts(&password))
        .ok_or(UNAUTHORIZED)?;
    let identifier = credential.username.as_str().into();
    Ok(Proof {
        consumer: Some(credential.consumer.id),
        credential: Credential { id: credential.id(), identifier },
    })
}

/// User name and password of a header. The name ends at the first colon and is not empty.
fn read(value: &str) -> Option<(String, String)> {
    let (scheme, rest) = value.trim_start().split_once(char::is_whitespace)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64_STANDARD.decode(rest.trim()).ok()?).ok()?;
    let (username, password) = decoded.split_once(':')?;
    (!username.is_empty()).then(|| (username.to_owned(), password.to_owned()))
}
