use std::borrow::Cow;

use gateway_model::{Clock, EntityType, Scopes, Violations};
use http::{HeaderName, HeaderValue, Method};

use super::config::Config;
use super::credential::{KEYAUTH_CREDENTIALS, KeyAuthCredential};
use crate::contract::{Credential, Flow, Handler, Needs, Phases, Plugin, Request, Setup};
use crate::kit::auth::{Authentication, Proof, UNAUTHORIZED};
use crate::kit::body::Arguments;
use crate::kit::query;

/// One instance (kong/plugins/key-auth/handler.lua).
pub(crate) struct KeyAuth {
    names: Vec<String>,
    in_header: bool,
    in_query: bool,
    in_body: bool,
    hide_credentials: bool,
    run_on_preflight: bool,
    authentication: Authentication,
    clock: Clock,
}

impl Plugin for KeyAuth {
    const NAME: &'static str = "key-auth";
    const PRIORITY: i32 = 1250;
    const PHASES: Phases = Phases::ACCESS;
    const SCOPES: Scopes = Scopes::NO_CONSUMER;
    const ENTITIES: &'static [&'static EntityType] = &[&KEYAUTH_CREDENTIALS];
    type Config = Config;

    fn build(config: Config, setup: &Setup<'_>) -> Result<Self, Violations> {
        Ok(Self {
            names: config.key_names,
            in_header: config.key_in_header,
            in_query: config.key_in_query,
            in_body: config.key_in_body,
            hide_credentials: config.hide_credentials,
            run_on_preflight: config.run_on_preflight,
            authentication: Authentication::new("Key", config.realm.as_deref(), config.anonymous)?,
            clock: setup.tools.clock.clone(),
        })
    }
}

impl Handler for KeyAuth {
    fn needs(&self) -> Needs {
        if self.in_body { Needs::BODY } else { Needs::NOTHING }
    }

    fn access<'a>(&'a self, request: &'a mut Request<'_>) -> Flow<'a> {
        if !self.run_on_preflight && request.head.method == Method::OPTIONS {
            return Flow::Continue;
        }
        self.authentication.run(request, |request| self.prove(request))
    }
}

impl KeyAuth {
    fn prove(&self, request: &mut Request<'_>) -> Result<Proof, &'static str> {
        let (name, key) = self.find(request)?;
        let credential = request
            .facts
            .catalog
            .by::<KeyAuthCredential>("key", &key)
            .filter(|credential| !credential.is_expired(self.clock.unix_ms()));
        if self.hide_credentials {
            hide(name, request);
        }
        let credential = credential.ok_or(UNAUTHORIZED)?;
        let id = credential.id();
        Ok(Proof {
            consumer: Some(credential.consumer.id),
            credential: Credential { id, identifier: id.to_string().into() },
        })
    }

    /// The first key, and the name it was found by.
    fn find(&self, request: &Request<'_>) -> Result<(&str, String), &'static str> {
        let body = self.in_body.then(|| Arguments::of(request)).flatten();
        for name in &self.names {
            let mut key = None;
            if self.in_header {
                key = only(headers(name, request))?;
            }
            if self.in_query && key.is_none() {
                key = only(arguments(name, request))?;
            }
            if let Some(body) = &body
                && key.is_none()
            {
                key = only(body.texts(name).into_iter())?;
            }
            if let Some(key) = key {
                return Ok((name, key.into_owned()));
            }
        }
        Err("No API key found in request")
    }
}

/// The one value that is no empty text.
fn only<'r>(
    mut values: impl Iterator<Item = Cow<'r, str>>,
) -> Result<Option<Cow<'r, str>>, &'static str> {
    let first = values.next();
    if values.next().is_some() {
        return Err("Duplicate API key found");
    }
    Ok(first.filter(|value| !value.is_empty()))
}

fn headers<'r>(name: &'r str, request: &'r Request<'_>) -> impl Iterator<Item = Cow<'r, str>> {
    let headers = request.head.headers.iter();
    headers.filter(|(known, _)| same(known, name)).map(|(_, value)| text(value))
}

fn text(value: &HeaderValue) -> Cow<'_, str> {
    String::from_utf8_lossy(value.as_bytes())
}

fn arguments<'r>(name: &'r str, request: &'r Request<'_>) -> impl Iterator<Item = Cow<'r, str>> {
    request.queries().filter(move |(known, _)| known == name).map(|(_, value)| value)
}

/// Whether two header names are equal, `_` being `-`.
fn same(known: &HeaderName, name: &str) -> bool {
    let plain = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    known.as_str().bytes().map(plain).eq(name.bytes().map(plain))
}

fn hide(name: &str, request: &mut Request<'_>) {
    let spellings = request.head.headers.keys().filter(|known| same(known, name));
    for spelling in spellings.cloned().collect::<Vec<_>>() {
        request.head.remove_header(&spelling);
    }
    query::remove(request.head, name);
    if let Some(mut arguments) = Arguments::of(request)
        && arguments.remove(name)
    {
        arguments.replace(request);
    }
}
