//! What fuzz targets run: each takes any bytes, and panics when something does not hold that always
//! must. An ordinary test runs them on the kept corpus and on variations of it.

mod admin;
mod asked;
mod files;
mod handlers;
mod platform;
mod wire;

type Attack = fn(&[u8]);

/// Those that need nothing the crates keep to themselves.
const TARGETS: [(&str, Attack); 19] = [
    ("preamble", wire::proxy_preamble),
    ("head", wire::head),
    ("chunks", wire::chunks),
    ("jwt", handlers::jwt),
    ("hmac_auth", handlers::hmac_auth),
    ("request", handlers::request),
    ("transformer", handlers::transformer),
    ("grpc", handlers::grpc),
    ("oauth2", handlers::oauth2),
    ("key_file", files::key_file),
    ("access_key", platform::access_key),
    ("mp1", platform::mp1),
    ("mepauth", platform::mepauth),
    ("dns_admin", platform::dns_admin),
    ("admin_forms", admin::forms),
    ("declarative", files::declarative),
    ("kong_conf", gateway_server::attack::kong_conf),
    ("mepauth_properties", gateway_server::attack::mepauth_properties),
    ("mepserver_config", gateway_server::attack::mepserver_config),
];

fn targets() -> impl Iterator<Item = (&'static str, Attack)> {
    TARGETS.into_iter().chain(gateway_proxy::attack::TARGETS)
}

/// Runs the target of this name.
///
/// # Panics
///
/// When what must hold does not, or there is no such target.
pub fn run(target: &str, data: &[u8]) {
    let found = targets().find(|(name, _)| *name == target);
    let (_, attack) = found.expect("a target of this name");
    attack(data);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use proptest::prelude::Rng as _;
    use proptest::test_runner::{RngAlgorithm, TestRng};

    use super::targets;

    fn place(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
    }

    fn names(folder: &str) -> BTreeSet<String> {
        let files = std::fs::read_dir(place(folder)).unwrap();
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
        let folder = format!("corpus/{target}");
        let read = |name: &String| std::fs::read(place(&folder).join(name)).unwrap();
        names(&folder).into_iter().map(|name| (read(&name), name)).map(|(a, b)| (b, a)).collect()
    }

    /// Each target has a program for the fuzzer and a corpus, and there are no others.
    #[test]
    fn every_target_has_all_its_parts() {
        let known: BTreeSet<String> = targets().map(|(name, _)| name.to_owned()).collect();
        let programs = known.iter().map(|name| format!("{name}.rs")).collect();
        assert_eq!(names("fuzz_targets"), programs);
        assert_eq!(names("corpus"), known);
        let manifest = std::fs::read_to_string(place("Cargo.toml")).unwrap();
        for name in &known {
            let text = std::fs::read_to_string(place(&format!("fuzz_targets/{name}.rs"))).unwrap();
            assert!(text.contains(&format!("run(\"{name}\", data)")), "{name}");
            assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
        }
    }

    #[test]
    fn the_corpus_is_withstood() {
        for (target, attack) in targets() {
            let corpus = corpus(target);
            assert!(corpus.len() >= 5, "{target} has a corpus");
            for (name, data) in corpus {
                eprintln!("{target}/{name}");
                attack(&data);
            }
        }
    }

    /// The same inputs on every run: cut, spliced and with bytes changed. `VARIATIONS` asks for another
    /// number of them.
    #[test]
    fn variations_of_the_corpus_are_withstood() {
        let asked = std::env::var("VARIATIONS").ok();
        let count = asked.map_or(200, |text| text.parse().expect("VARIATIONS is a number"));
        let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
        let mut below = |limit: usize| random.next_u64() as usize % limit.max(1);
        for (target, attack) in targets() {
            let corpus = corpus(target);
            for _ in 0..count {
                let mut data = corpus[below(corpus.len())].1.clone();
                for _ in 0..=below(4) {
                    let at = below(data.len());
                    match below(4) {
                        0 => data.truncate(at),
                        1 => data
                            .splice(at..at, corpus[below(corpus.len())].1.iter().copied())
                            .for_each(drop),
                        2 if !data.is_empty() => data[at] = below(256) as u8,
                        _ => data.insert(at, b"/.%*~\"(:&|!#\0\n"[below(14)]),
                    }
                }
                let shown = data.clone();
                let done = std::panic::catch_unwind(move || attack(&data));
                assert!(done.is_ok(), "{target}: {}", shown.escape_ascii());
            }
        }
    }
}
