#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use gateway_model::Revision;

use super::*;
use crate::entities::Address;

fn registry() -> Arc<Registry> {
    let mut registry = Registry::new(gateway_model::entities::ALL);
    plugins::register(&mut registry);
    Arc::new(registry)
}

fn info(protocol: &str, uris: &[&str], addresses: &[(&str, u64)]) -> ServiceInfo {
    let mut info = ServiceInfo::default();
    info.transport_info.protocol = protocol.to_owned();
    let endpoint = &mut info.transport_info.endpoint;
    endpoint.uris = Some(uris.iter().map(|uri| (*uri).to_owned()).collect());
    let addresses =
        addresses.iter().map(|(host, port)| Address { host: (*host).to_owned(), port: *port });
    endpoint.addresses = Some(addresses.collect());
    info
}

fn check(protocol: &str, uris: &[&str], addresses: &[(&str, u64)], wanted: &[Option<&str>]) {
    let found = endpoints(&info(protocol, uris, addresses), &Guard::default(), &registry());
    let shown: Vec<Option<&str>> =
        found.iter().map(|endpoint| endpoint.as_ref().ok().map(Url::as_str)).collect();
    assert_eq!(shown, wanted, "{uris:?} {addresses:?}: {found:?}");
}

#[test]
fn uris_come_before_addresses_and_keep_their_order() {
    check(
        "http",
        &["http://b.test/x", "http://a.test:81", "http://b.test/x#y"],
        &[("c.test", 80)],
        &[Some("http://b.test/x"), Some("http://a.test:81/")],
    );
    check(
        "http",
        &[],
        &[("a.test", 32115), ("2001:db8::2", 1)],
        &[Some("http://a.test:32115/"), Some("http://[2001:db8::2]:1/")],
    );
    check("HTTP", &[], &[("10.1.2.3", 80)], &[Some("http://10.1.2.3/")]);
    check("", &[], &[], &[]);
}

#[test]
fn what_cannot_be_served_is_left_out() {
    check(
        "http",
        &[
            "/relative",
            "mqtt://a.test:1883",
            "http://127.0.0.1:8001/",
            "http://a.test//b",
            "http://ok.test/",
            "urn:x",
        ],
        &[],
        &[None, None, None, None, Some("http://ok.test/"), None],
    );
    check("http", &[], &[("a.test", 65_536), ("a b", 1), ("", 1), ("a.test/x?", 1)], &[None; 4]);
}

#[test]
fn names_carry_the_service_and_differ() {
    let (one, other) = (name_of("sampleapp"), name_of("sampleapp"));
    assert_ne!(one, other);
    let digits = one.strip_prefix("sampleapp").unwrap();
    assert!(digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_hexdigit()), "{one}");
    assert_eq!(&digits[12..13], "1", "the version of a time-based UUID");
}

/// Applies a plan to a catalog and gives the next one with what it publishes.
fn turn(
    catalog: &Arc<Catalog>,
    wanted: &[&str],
    present: &[Publication],
    counter: &mut u32,
) -> (Arc<Catalog>, Vec<Publication>) {
    let urls: Vec<Url> = wanted.iter().map(|uri| Url::parse(uri).unwrap()).collect();
    let mut names = || {
        *counter += 1;
        format!("svc{counter}")
    };
    let (publications, changes) = plan(catalog, &urls, present, &mut names);
    let mut edit = catalog.edit(0);
    edit.apply(&changes).unwrap();
    (Arc::new(edit.finish().0), publications)
}

fn routes(catalog: &Catalog) -> Vec<String> {
    let mut paths: Vec<String> = catalog
        .all::<Route>()
        .map(|route| {
            let service = catalog.get::<Service>(route.service.unwrap().id).unwrap();
            let plugins: Vec<String> = catalog
                .children::<PluginInstance>("service", service.id())
                .map(|plugin| plugin.name.clone())
                .collect();
            assert_eq!(plugins, ["jwt"]);
            assert!(route.strip_path && !route.preserve_host);
            format!("{} {}:{}", route.paths.as_ref().unwrap()[0], service.host, service.port)
        })
        .collect();
    paths.sort();
    paths
}

#[test]
fn a_plan_keeps_what_stays_and_withdraws_the_rest() {
    let counter = &mut 0;
    let empty = Arc::new(Catalog::empty(registry()));
    let (catalog, first) = turn(&empty, &["http://a.test/", "http://b.test:81/x"], &[], counter);
    assert_eq!(routes(&catalog), ["/svc1 a.test:80", "/svc2 b.test:81"]);
    assert_eq!(first[1].target, "http://b.test:81/x");

    let (catalog, second) =
        turn(&catalog, &["http://c.test/", "http://b.test:81/x"], &first, counter);
    assert_eq!(routes(&catalog), ["/svc2 b.test:81", "/svc3 c.test:80"]);
    assert_eq!(second[1], first[1]);

    // An operator deleted one and gave the other a second route.
    let mut edit = catalog.edit(0);
    let mut edits = withdraw(&catalog, "svc3");
    let extra = json!({"paths": ["/extra"], "service": {"name": "svc2"}});
    edits.push(Change::Insert { kind: Route::KIND, document: object(extra) });
    edit.apply(&edits).unwrap();
    let catalog = Arc::new(edit.finish().0);
    let wanted = ["http://c.test/"];
    let (catalog, third) = turn(&catalog, &wanted, &second, counter);
    assert_eq!(routes(&catalog), ["/svc4 c.test:80"]);

    let (catalog, none) = turn(&catalog, &[], &third, counter);
    assert!(routes(&catalog).is_empty() && none.is_empty());
    assert_eq!(catalog.collection(PluginInstance::KIND).unwrap().len(), 0);
    assert_eq!(catalog.revision(), Revision(5));
}

#[test]
fn what_is_told_of_a_refused_endpoint_holds_no_secret() {
    for (uri, told) in [
        ("http://me:secret@192.0.2.1:8080/secret?secret", "http://192.0.2.1:8080"),
        ("https://secret@[2001:db8::1]/", "https://[2001:db8::1]:443"),
        ("mqtt://me:secret@broker", "mqtt://broker"),
        ("http://me:secret@:80:80/", "an endpoint"),
    ] {
        let why = Unpublishable {
            uri: uri.to_owned(),
            reason: Reason::Forbidden(Forbidden::Credentials),
        };
        let wanted = format!("{told} is not published: a URI must not carry credentials");
        assert_eq!(why.to_string(), wanted);
    }
}
