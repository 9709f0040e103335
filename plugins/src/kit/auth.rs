//! What all authentication plugins share: several of them as alternatives, the anonymous consumer,
//! the challenge of a refusal.

use gateway_model::entities::Consumer;
use gateway_model::{Id, Violations};
use http::{HeaderValue, StatusCode, header};

use crate::contract::{Credential, Flow, Reply, Request};

/// The common part of one instance of an authentication plugin.
pub(crate) struct Authentication {
    anonymous: Option<String>,
    challenge: HeaderValue,
}

/// Who was found to call, and by which credential.
pub(crate) struct Proof {
    /// `None` for callers whom somebody else knows, such as a directory.
    pub(crate) consumer: Option<Id>,
    pub(crate) credential: Credential,
}

impl Authentication {
    /// `scheme` stands in `WWW-Authenticate`, with the realm when there is one.
    ///
    /// # Errors
    ///
    /// A realm that cannot stand in a header.
    pub(crate) fn new(
        scheme: &str,
        realm: Option<&str>,
        anonymous: Option<String>,
    ) -> Result<Self, Violations> {
        let challenge = match realm {
            Some(realm) => format!("{scheme} realm=\"{realm}\""),
            None => scheme.to_owned(),
        };
        let challenge = HeaderValue::try_from(challenge)
            .map_err(|_| Violations::one("realm", "not usable in a header"))?;
        Ok(Self { anonymous, challenge })
    }

    /// Lets in whom `prove` finds. A refusal carries the text it gives, unless requests go on as
    /// the anonymous consumer.
    pub(crate) fn run<'a>(
        &self,
        request: &mut Request<'_>,
        prove: impl FnOnce(&mut Request<'_>) -> Result<Proof, &'static str>,
    ) -> Flow<'a> {
        if self.settled(request) {
            return Flow::Continue;
        }
        let proved = prove(request);
        self.conclude(request, proved)
    }

    /// Whether nothing is left to prove.
    pub(crate) fn settled(&self, request: &Request<'_>) -> bool {
        settled(self.anonymous.as_deref(), request)
    }

    /// Lets in who was found, or refuses with the text given, or goes on as the anonymous consumer.
    pub(crate) fn conclude<'a>(
        &self,
        request: &mut Request<'_>,
        proved: Result<Proof, &'static str>,
    ) -> Flow<'a> {
        let proved = proved.and_then(|proof| {
            let Some(id) = proof.consumer else { return Ok((None, proof.credential)) };
            let consumer = request.facts.catalog.get::<Consumer>(id).ok_or(UNAUTHORIZED)?;
            Ok((Some(consumer), proof.credential))
        });
        match (proved, &self.anonymous) {
            (Ok((consumer, credential)), _) => {
                let identity = &mut request.facts.identity;
                identity.authenticate(request.head, consumer, Some(credential));
                Flow::Continue
            }
            (Err(_), Some(name)) => go_on_as(name, request),
            (Err(text), None) => Flow::reply(
                Reply::message(StatusCode::UNAUTHORIZED, text)
                    .header(header::WWW_AUTHENTICATE, self.challenge.clone()),
            ),
        }
    }
}

/// The text of most refusals.
pub(crate) const UNAUTHORIZED: &str = "Unauthorized";

/// Whether nothing is left to prove: with `anonymous`, one successful authentication is enough,
/// whichever plugin made it.
pub(crate) fn settled(anonymous: Option<&str>, request: &Request<'_>) -> bool {
    anonymous.is_some() && request.facts.identity.credential.is_some()
}

/// Goes on as the consumer of requests that are not authenticated, given by id or user name.
pub(crate) fn go_on_as<'a>(name: &str, request: &mut Request<'_>) -> Flow<'a> {
    let catalog = &request.facts.catalog;
    let by_id = Id::parse(name).and_then(|id| catalog.get::<Consumer>(id));
    let Some(consumer) = by_id.or_else(|| catalog.by::<Consumer>("username", name)) else {
        let text = format!("anonymous consumer {name} is configured but doesn't exist");
        return Flow::reply(Reply::message(StatusCode::INTERNAL_SERVER_ERROR, text));
    };
    let identity = &mut request.facts.identity;
    identity.authenticate(request.head, Some(consumer), None);
    identity.claims = None;
    Flow::Continue
}
