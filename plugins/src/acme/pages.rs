//! `/acme` of the Admin API: certificates ordered, renewed and shown (kong/plugins/acme/api.lua).

use std::sync::{Arc, Mutex, PoisonError, Weak};

use gateway_model::entities::{Certificate, Sni};
use gateway_model::{Catalog, Item};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use x509_parser::pem::Pem;
use x509_parser::x509::X509Name;

use super::keeper::{Keeper, is_ours};
use crate::contract::{AdminPage, PageAnswer, PageCall, Tools};

pub(super) const PAGES: &[AdminPage] = &[
    AdminPage { path: "/acme", methods: "OPTIONS, PATCH, POST", serve: work },
    AdminPage { path: "/acme/certificates", methods: "GET, HEAD, OPTIONS", serve: list },
    AdminPage {
        path: "/acme/certificates/{certificates}",
        methods: "GET, HEAD, OPTIONS",
        serve: one,
    },
];

/// The work of every instance, in a process. One that is checked only, or was replaced, is gone.
#[derive(Default)]
pub(super) struct Keepers(Mutex<Vec<Weak<Keeper>>>);

impl Keepers {
    pub(super) fn of(tools: &Tools) -> Arc<Self> {
        tools.shared(|_| Self::default())
    }

    pub(super) fn add(&self, keeper: &Arc<Keeper>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| one.strong_count() > 0);
        all.push(Arc::downgrade(keeper));
    }

    fn current(&self) -> Option<Arc<Keeper>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter_map(Weak::upgrade).find(|keeper| keeper.is_current())
    }
}

fn told(status: StatusCode, text: impl Into<String>) -> PageAnswer {
    PageAnswer::Status(status, json!({ "message": text.into() }))
}

fn work(call: &PageCall<'_>) -> PageAnswer {
    let Some(keeper) = Keepers::of(call.tools).current() else { return PageAnswer::NotFound };
    if *call.method == Method::PATCH {
        call.tools.runtime.spawn(async move { keeper.round().await });
        return told(StatusCode::ACCEPTED, "Renewal process started successfully");
    }
    let bad = |text: &str| told(StatusCode::BAD_REQUEST, text);
    let Some(host) = (call.member)("host").filter(|host| !host.is_empty()) else {
        return bad("host must be provided and containing a single domain");
    };
    if host.contains(':') {
        return bad("port is not allowed in host");
    }
    let host = host.to_ascii_lowercase();
    if (call.member)("test_http_challenge_flow").as_deref() == Some("true") {
        return PageAnswer::Wait(Box::pin(probe(keeper, host)));
    }
    PageAnswer::Wait(Box::pin(async move {
        match keeper.obtain(&host).await {
            Ok(()) => told(StatusCode::CREATED, format!("certificate for host {host} is created")),
            Err(why) => {
                let text = format!("failed to update certificate: {why}");
                told(StatusCode::INTERNAL_SERVER_ERROR, text)
            }
        }
    }))
}

/// Asks for a challenge nobody knows, as an authority would: the answer shows who is there.
async fn probe(keeper: Arc<Keeper>, host: String) -> PageAnswer {
    let address = format!("http://{host}/.well-known/acme-challenge/x");
    let asked = keeper.tools.client.get(&address).send().await;
    let problem = match asked {
        Err(why) => why.without_url().to_string(),
        Ok(answer) => {
            let status = answer.status();
            let text = answer.text().await.unwrap_or_default();
            if text == "Not found\n" {
                let text = format!("sanity test for host {host} passed");
                return told(StatusCode::OK, text);
            }
            let mut why = format!("unexpected response: \"{text}\"");
            if status != StatusCode::NOT_FOUND {
                why.push_str(&format!(", unexpected status code: {}", status.as_u16()));
            }
            why
        }
    };
    let text = format!("problem found running sanity check for {host}: {problem}");
    told(StatusCode::BAD_REQUEST, text)
}

fn list(call: &PageCall<'_>) -> PageAnswer {
    let mut shown: Vec<(String, Value)> = ours(call.catalog)
        .filter_map(|(name, certificate)| Some((name.clone(), show(&name, &certificate)?)))
        .collect();
    shown.sort_by(|(one, _), (other, _)| one.cmp(other));
    let data: Vec<Value> = shown.into_iter().map(|(_, shown)| shown).collect();
    PageAnswer::Json(json!({ "data": data, "next": null }))
}

fn one(call: &PageCall<'_>) -> PageAnswer {
    let [host] = call.parameters else { return PageAnswer::NotFound };
    let found = ours(call.catalog).find(|(name, _)| name == host);
    match found.and_then(|(name, certificate)| show(&name, &certificate)) {
        Some(shown) => PageAnswer::Json(json!({ "data": shown })),
        None => told(StatusCode::NOT_FOUND, format!("Certificate for host {host} not found")),
    }
}

/// Names with a certificate that was got here.
fn ours(catalog: &Catalog) -> impl Iterator<Item = (String, Item<Certificate>)> {
    catalog.all::<Sni>().filter_map(|sni| {
        let certificate = catalog.get::<Certificate>(sni.certificate.id);
        Some((sni.name.clone(), certificate.filter(|one| is_ours(one))?))
    })
}

fn show(host: &str, certificate: &Certificate) -> Option<Value> {
    let text = certificate.cert.as_bytes();
    let block = Pem::iter_from_buffer(text).next()?.ok()?;
    let parsed = block.parse_x509().ok()?;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &block.contents);
    let digest: Vec<String> = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    let time = |at: i64| {
        let at = jiff::Timestamp::from_second(at).ok()?;
        Some(at.strftime("%Y-%m-%d %H:%M:%S").to_string())
    };
    let algorithm = parsed.public_key().algorithm.algorithm.to_id_string();
    Some(json!({
        "host": host,
        "digest": digest.join(":"),
        "issuer_cn": common_name(parsed.issuer()),
        "not_before": time(parsed.validity().not_before.timestamp())?,
        "not_after": time(parsed.validity().not_after.timestamp())?,
        "pubkey_type": match &*algorithm {
            "1.2.840.113549.1.1.1" => "rsaEncryption",
            "1.2.840.10045.2.1" => "id-ecPublicKey",
            other => other,
        },
    }))
}

fn common_name(name: &X509Name<'_>) -> Option<String> {
    name.iter_common_name().next()?.as_str().ok().map(str::to_owned)
}
