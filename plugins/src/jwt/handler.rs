use std::borrow::Cow;
use std::sync::Arc;

use gateway_model::entities::Consumer;
use gateway_model::{Clock, Document, EntityType, Item, Scopes, Violations};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};

use super::config::{Claim, Config};
use super::credential::{JWT_SECRETS, JwtSecret};
use super::verified::{Verified, VerifiedTokens};
use crate::contract::{Credential, Flow, Handler, Phases, Plugin, Reply, Request, Setup};
use crate::kit::auth;
use crate::kit::jws::Token;

/// One instance (kong/plugins/jwt/handler.lua).
pub(crate) struct Jwt {
    parameters: Vec<String>,
    cookies: Vec<String>,
    headers: Vec<HeaderName>,
    key_claim_name: Arc<str>,
    secret_is_base64: bool,
    claims_to_verify: Vec<Claim>,
    anonymous: Option<String>,
    run_on_preflight: bool,
    /// Seconds; 0 sets no limit.
    maximum_expiration: f64,
    /// `WWW-Authenticate` of a request without a token, and of one whose token is refused.
    challenge: HeaderValue,
    invalid_token: HeaderValue,
    verified: Arc<VerifiedTokens>,
    clock: Clock,
}

impl Plugin for Jwt {
    const NAME: &'static str = "jwt";
    const PRIORITY: i32 = 1450;
    const PHASES: Phases = Phases::ACCESS;
    const SCOPES: Scopes = Scopes::NO_CONSUMER;
    const ENTITIES: &'static [&'static EntityType] = &[&JWT_SECRETS];
    type Config = Config;

    fn build(config: Config, setup: &Setup<'_>) -> Result<Self, Violations> {
        let mut violations = Violations::new();
        let mut headers = Vec::new();
        for name in config.header_names.unwrap_or_default() {
            match name.parse() {
                Ok(name) => headers.push(name),
                Err(_) => violations.add("header_names", format!("invalid value: {name}").into()),
            }
        }
        let realm = config.realm.as_ref().map(|realm| format!("realm=\"{realm}\""));
        let mut challenge = |error: Option<&str>| {
            let parts: Vec<&str> = realm.as_deref().into_iter().chain(error).collect();
            let text = format!("Bearer {}", parts.join(", "));
            HeaderValue::try_from(text.trim_end()).unwrap_or_else(|_| {
                violations.add("realm", "not usable in a header".into());
                HeaderValue::from_static("Bearer")
            })
        };
        let plain = challenge(None);
        let invalid_token = challenge(Some("error=\"invalid_token\""));
        if !violations.is_empty() {
            return Err(violations);
        }
        Ok(Self {
            parameters: config.uri_param_names.unwrap_or_default(),
            cookies: config.cookie_names.unwrap_or_default(),
            headers,
            key_claim_name: config.key_claim_name.as_deref().unwrap_or("iss").into(),
            secret_is_base64: config.secret_is_base64,
            claims_to_verify: config.claims_to_verify.unwrap_or_default(),
            anonymous: config.anonymous,
            run_on_preflight: config.run_on_preflight,
            maximum_expiration: config.maximum_expiration.unwrap_or_default(),
            challenge: plain,
            invalid_token,
            verified: setup.tools.shared(|_| VerifiedTokens::new()),
            clock: setup.tools.clock.clone(),
        })
    }
}

impl Handler for Jwt {
    fn access<'a>(&'a self, request: &'a mut Request<'_>) -> Flow<'a> {
        if !self.run_on_preflight && request.head.method == Method::OPTIONS {
            return Flow::Continue;
        }
        if auth::settled(self.anonymous.as_deref(), request) {
            return Flow::Continue;
        }
        match (self.prove(request), &self.anonymous) {
            (Ok(proof), _) => {
                proof.note(request);
                Flow::Continue
            }
            (Err(_), Some(name)) => auth::go_on_as(name, request),
            (Err(refusal), None) => Flow::reply(self.refuse(refusal)),
        }
    }
}

/// Who was found to call.
struct Proof {
    token: Arc<Verified>,
    consumer: Item<Consumer>,
}

impl Proof {
    fn note(self, request: &mut Request<'_>) {
        let credential = Credential {
            id: self.token.credential.id(),
            identifier: Arc::clone(&self.token.identifier),
        };
        let identity = &mut request.facts.identity;
        identity.authenticate(request.head, Some(self.consumer), Some(credential));
        identity.claims = Some(Arc::clone(&self.token.claims));
    }
}

/// Why nobody was.
enum Refusal {
    NoToken,
    Because(Cow<'static, str>),
    /// What is wrong with each claim.
    Claims(Document),
}

impl From<&'static str> for Refusal {
    fn from(text: &'static str) -> Self {
        Self::Because(text.into())
    }
}

impl Jwt {
    fn prove(&self, request: &Request<'_>) -> Result<Proof, Refusal> {
        let text = self.find(request)?;
        let catalog = &request.facts.catalog;
        let token = match self.verified.get(&text).filter(|known| self.still_holds(known, request))
        {
            Some(known) => known,
            None => {
                let verified = Arc::new(self.verify(&text, request)?);
                self.verified.put(&text, &verified);
                verified
            }
        };
        self.check_claims(&token)?;
        let consumer = catalog.get::<Consumer>(token.credential.consumer.id).ok_or_else(|| {
            let claim = &self.key_claim_name;
            let text = format!("Could not find consumer for '{claim}={}'", token.identifier);
            Refusal::Because(text.into())
        })?;
        Ok(Proof { token, consumer })
    }

    /// The one token of a request.
    fn find<'r>(&self, request: &'r Request<'_>) -> Result<Cow<'r, str>, Refusal> {
        let mut found: Option<Cow<'r, str>> = None;
        let parameters = || {
            let wanted = |name: &str| self.parameters.iter().any(|known| known == name);
            request.queries().filter(move |(name, _)| wanted(name)).map(|(_, value)| value)
        };
        let headers = self.headers.iter().filter_map(|name| {
            let value = request.head.headers.get(name)?;
            bearer(value.to_str().ok()?).map(Cow::Borrowed)
        });
        let candidates = parameters().chain(self.cookies(request)).chain(headers);
        for text in candidates.filter(|text| !text.is_empty()) {
            match &found {
                Some(first) if *first != text => return Err("Multiple tokens provided".into()),
                _ => found = Some(text),
            }
        }
        found.ok_or(Refusal::NoToken)
    }

    fn cookies<'r>(&self, request: &'r Request<'_>) -> impl Iterator<Item = Cow<'r, str>> {
        let lines = (!self.cookies.is_empty())
            .then(|| request.head.headers.get_all(header::COOKIE))
            .into_iter()
            .flatten();
        lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| self.cookies.iter().any(|known| known == name))
            .map(|(_, value)| Cow::Borrowed(value))
    }

    /// Whether a remembered verification would come out the same today.
    fn still_holds(&self, known: &Verified, request: &Request<'_>) -> bool {
        known.secret_is_base64 == self.secret_is_base64
            && known.key_claim_name == self.key_claim_name
            && request
                .facts
                .catalog
                .by::<JwtSecret>("key", &known.identifier)
                .is_some_and(|current| current.same(&known.credential))
    }

    fn verify(&self, text: &str, request: &Request<'_>) -> Result<Verified, Refusal> {
        let token = Token::parse(text)
            .map_err(|why| Refusal::Because(format!("Bad token; {why}").into()))?;
        let claim = &*self.key_claim_name;
        let set = |value: &&Value| !matches!(value, Value::Null | Value::Bool(false));
        let key = token.claims.get(claim).filter(set).or(token.header.get(claim)).filter(set);
        let credential = match key {
            None => return Err(because(format!("No mandatory '{claim}' in claims"))),
            Some(Value::String(key)) if key.is_empty() => {
                return Err(because(format!("Invalid '{claim}' in claims")));
            }
            Some(Value::String(key)) => request.facts.catalog.by::<JwtSecret>("key", key),
            // Kong fails here with status 500; a key that is no text names no credential.
            Some(_) => None,
        };
        let credential = credential
            .ok_or_else(|| because(format!("No credentials found for given '{claim}'")))?;
        if token.algorithm != credential.algorithm() {
            return Err("Invalid algorithm".into());
        }
        let key = credential.verifier(self.secret_is_base64).ok_or("Invalid key/secret")?;
        if !token.is_signed_by(key) {
            return Err("Invalid signature".into());
        }
        Ok(Verified::new(token.claims, credential, &self.key_claim_name, self.secret_is_base64))
    }

    /// Whether the token is good now. No leeway, as Kong has none.
    fn check_claims(&self, token: &Verified) -> Result<(), Refusal> {
        #[expect(clippy::cast_precision_loss, reason = "seconds are far below 2^53")]
        let now = self.clock.unix_seconds() as f64;
        let mut problems = Document::new();
        for claim in &self.claims_to_verify {
            let (name, problem) = match claim {
                Claim::Exp => ("exp", token.exp.map(|exp| (exp <= now).then_some("token expired"))),
                Claim::Nbf => {
                    ("nbf", token.nbf.map(|nbf| (nbf > now).then_some("token not valid yet")))
                }
            };
            if let Some(problem) = problem.unwrap_or(Some("must be a number")) {
                problems.insert(name.into(), problem.into());
            }
        }
        let limit = self.maximum_expiration;
        if problems.is_empty() && limit > 0.0 && token.exp.is_some_and(|exp| exp - now > limit) {
            problems.insert("exp".into(), "exceeds maximum allowed expiration".into());
        }
        if problems.is_empty() { Ok(()) } else { Err(Refusal::Claims(problems)) }
    }

    fn refuse(&self, refusal: Refusal) -> Reply {
        let (challenge, body) = match refusal {
            Refusal::NoToken => (&self.challenge, json!({"message": "Unauthorized"})),
            Refusal::Because(text) => (&self.invalid_token, json!({ "message": text })),
            Refusal::Claims(problems) => (&self.invalid_token, Value::Object(problems)),
        };
        Reply::json(StatusCode::UNAUTHORIZED, &body)
            .header(header::WWW_AUTHENTICATE, challenge.clone())
    }
}

fn because(text: String) -> Refusal {
    Refusal::Because(text.into())
}

/// What follows `Bearer` or `bearer`; nothing for other schemes, and no other spelling counts.
fn bearer(value: &str) -> Option<&str> {
    let value = value.trim_start();
    let rest = value.strip_prefix("Bearer").or_else(|| value.strip_prefix("bearer"))?;
    let token = rest.trim_start();
    (token.len() < rest.len() && !token.is_empty()).then_some(token)
}
