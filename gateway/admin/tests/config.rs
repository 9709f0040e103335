//! The recorded node without a database: what `POST /config` takes and refuses.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

#[expect(dead_code, reason = "the steps are taken one by one here")]
mod replay;
mod subject;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use gateway_admin::{Declared, LoadError, Loaded, Writes};
use gateway_control::{Control, declarative};
use gateway_model::{Change, Key};
use replay::{Names, Scenario};
use subject::Subject;

/// Serves what a text declares in place of everything else.
struct Replacing {
    control: Control,
    served: Mutex<String>,
}

impl Declared for Replacing {
    fn is_served(&self, text: &str) -> bool {
        *self.served.lock().unwrap() == text
    }

    fn load(&self, text: String) -> BoxFuture<'_, Result<Loaded, LoadError>> {
        Box::pin(async move {
            let catalog = self.control.catalog();
            let declared = declarative::changes(&text, catalog.registry());
            let declared = declared.map_err(LoadError::Declarative)?;
            let kinds = catalog.registry().kinds().iter().rev();
            let old = kinds.flat_map(|kind| catalog.collection(kind.kind).unwrap().iter());
            let old = old.map(|stored| Change::Delete {
                kind: stored.kind().kind,
                key: Key::Id(stored.id()),
            });
            let changes = old.chain(declared).collect();
            let applied = self.control.apply(changes).await.map_err(LoadError::Refused)?;
            *self.served.lock().unwrap() = text;
            let entities = applied.entities.into_iter().flatten().collect();
            Ok(Loaded { catalog: applied.catalog, entities })
        })
    }
}

/// Steps that need more than this test has: (step, why).
const PASSED_OVER: [(usize, &str); 2] = [
    (32, "the parser of YAML words what it expected"),
    (35, "the credential is declared by a plugin"),
];

#[test]
fn a_configuration_is_posted() {
    let mut subject = Subject::start();
    subject.admin.writes = Writes::Declarative;
    let control = subject.admin.control.clone();
    subject.ports.declared = Some(Arc::new(Replacing { control, served: Mutex::default() }));

    let spec = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/spec/kong/golden");
    let all = replay::read(&spec.join("variants.jsonl"));
    let recorded: &Scenario = all.iter().find(|one| one.scenario == "db-less").unwrap();
    let mut report = Vec::new();
    // What comes before reads the file the recorded node was started with.
    for (position, step) in recorded.steps.iter().enumerate().skip(20) {
        let passed_over = PASSED_OVER.iter().any(|(step, _)| *step == position);
        if step.to.is_some() || passed_over || step.request.path.starts_with("/basic-auths") {
            continue;
        }
        let reply = subject.send(&step.request);
        let lines = step.compare(&Names::default(), &step.request, &reply);
        report.extend(lines.iter().map(|line| format!("step {position}: {line}")));
    }
    assert!(report.is_empty(), "\n{}", report.join("\n"));
}

#[test]
fn what_is_no_configuration_changes_nothing() {
    let mut subject = Subject::start();
    subject.admin.writes = Writes::Declarative;
    let control = subject.admin.control.clone();
    subject.ports.declared = Some(Arc::new(Replacing { control, served: Mutex::default() }));
    let post = |media_type: &str, body: &str| {
        let headers = [("Content-Type".to_owned(), media_type.into())];
        let sent = replay::Sent {
            method: "POST".into(),
            path: "/config".into(),
            headers: headers.into_iter().collect(),
            json: None,
            body: Some(body.into()),
        };
        subject.send(&sent).status
    };
    let good = "_format_version: '3.0'\nservices: [{name: s, host: h}]";
    assert_eq!(post("application/yaml", good), 201);
    let form = "config=_format_version:%20'3.0'";
    for (media_type, body, status) in [
        ("text/yaml", "[1]", 400),
        ("text/yaml", "a: [", 400),
        ("text/yaml", "_format_version: '3.0'\nservices: [{name: s}]", 400),
        ("application/json", "{\"config\": 5}", 400),
        ("application/x-www-form-urlencoded", "a=b", 400),
        ("text/plain", good, 415),
    ] {
        assert_eq!(post(media_type, body), status, "{media_type} {body}");
        let services = subject.admin.control.catalog().collection("services").unwrap().len();
        assert_eq!(services, 1, "{media_type} {body}");
    }
    assert_eq!(post("application/x-www-form-urlencoded", form), 201);
    assert!(subject.admin.control.catalog().collection("services").unwrap().is_empty());
}
