//! The syntax: a file, environment variables and options to texts that know where they came from.
//!
//! This is the only module that knows how a configuration file is written. It judges no value;
//! `values.rs` does.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::keys;
use super::place::{Notice, Origin, Violation};

/// Where a file is looked for when none is named, in this order (Kong's list).
const SEARCHED: [&str; 2] = ["/etc/kong/kong.conf", "/etc/kong.conf"];

/// Texts by key, the highest source already chosen: option, then variable, then file.
///
/// It has no `Debug`: passwords are among the texts.
pub(crate) struct RawSettings {
    pub(super) given: BTreeMap<String, Given>,
    /// The whole environment, for `{vault://env/…}`.
    pub(super) environment: HashMap<String, String>,
    pub(super) violations: Vec<Violation>,
    pub(super) notices: Vec<Notice>,
}

/// One key's text, comment and white space removed.
#[derive(Clone)]
pub(super) struct Given {
    pub(super) text: String,
    pub(super) origin: Origin,
}

impl RawSettings {
    /// Collects everything that is given. `file` is the one named by `-c`; without it Kong's two
    /// usual places are tried, and none is fine. What is wrong is kept for `Settings::parse`, to
    /// be reported together with the rest.
    pub(crate) fn read(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
        args: &[(String, String)],
    ) -> Self {
        let usual = || SEARCHED.into_iter().map(Path::new).find(|path| path.exists());
        Self::collect(file.or_else(usual), env, args)
    }

    /// The same without looking for a file.
    pub(super) fn collect(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
        args: &[(String, String)],
    ) -> Self {
        let mut raw = Self {
            given: BTreeMap::new(),
            environment: env.collect(),
            violations: Vec::new(),
            notices: Vec::new(),
        };
        if let Some(path) = file {
            raw.read_file(path);
        }
        raw.read_environment();
        for (name, text) in args {
            raw.give(name.clone(), text.clone(), Origin::Argument(name.clone()));
        }
        raw
    }

    /// What a file of this text would give, and nothing else.
    pub(crate) fn of_text(path: &Path, text: &str) -> Self {
        let mut raw = Self::collect(None, std::iter::empty(), &[]);
        raw.read_text(path, text);
        raw
    }

    fn read_file(&mut self, path: &Path) {
        match fs::read_to_string(path) {
            Ok(text) => self.read_text(path, &text),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                self.refuse(None, format!("no file at: {}", path.display()));
            }
            Err(cause) => self.refuse(None, format!("{}: cannot be read: {cause}", path.display())),
        }
    }

    fn read_text(&mut self, path: &Path, text: &str) {
        let path: Arc<Path> = path.into();
        for (index, line) in text.lines().enumerate() {
            let origin = Origin::File { path: Arc::clone(&path), line: index + 1 };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.split_once('=') {
                Some((key, value)) if is_key(key.trim()) => {
                    self.give(key.trim().to_owned(), without_comment(value), origin);
                }
                // Not the whole line: it may be the second half of a secret.
                _ => {
                    self.refuse(Some(origin), "expected a line of the form: key = value".to_owned())
                }
            }
        }
    }

    /// `KONG_PG_PASSWORD` sets `pg_password`; `KONG_PG_PASSWORD_FILE` names a file that holds it,
    /// as the entry point of Kong's container images has it.
    fn read_environment(&mut self) {
        let mut variables: Vec<(String, String)> = self
            .environment
            .iter()
            .filter_map(|(name, text)| Some((name.strip_prefix("KONG_")?.to_owned(), text.clone())))
            .collect();
        variables.sort();
        for (name, text) in variables {
            let (variable, key) = (format!("KONG_{name}"), name.to_lowercase());
            match key.strip_suffix("_file").filter(|stem| is_known(stem) && !is_known(&key)) {
                Some(stem) => self.read_named_file(stem, variable, &text),
                // Not for NGINX or a shell, but a document that has comments of its own.
                None if key == "declarative_config_string" => {
                    self.give(key, text, Origin::Variable(variable));
                }
                None => self.give(key, without_comment(&text), Origin::Variable(variable)),
            }
        }
    }

    fn read_named_file(&mut self, key: &str, variable: String, path: &str) {
        let direct = variable.trim_end_matches("_FILE").to_owned();
        let origin = Origin::Variable(variable);
        if self.environment.contains_key(&direct) {
            self.refuse(Some(origin), format!("both this and {direct} are set"));
            return;
        }
        match fs::read_to_string(path) {
            // As `$(cat FILE)` would have it.
            Ok(text) => {
                self.give(key.to_owned(), without_comment(text.trim_end_matches('\n')), origin)
            }
            Err(cause) => self.refuse(Some(origin), format!("{path}: cannot be read: {cause}")),
        }
    }

    fn give(&mut self, key: String, text: String, origin: Origin) {
        if let Some(Given { origin: Origin::File { line, .. }, .. }) = self.given.get(&key)
            && matches!(origin, Origin::File { .. })
        {
            let text = format!("'{key}' is set again; line {line} has no effect");
            self.notices.push(Notice { place: origin.clone(), text });
        }
        self.given.insert(key, Given { text, origin });
    }

    fn refuse(&mut self, place: Option<Origin>, text: String) {
        self.violations.push(Violation { place, text });
    }
}

/// The text before the first `#` that no backslash precedes, with `\#` for a plain one. Kong reads
/// variables this way too (`kong/conf_loader/parse.lua`, `parse_value`).
fn without_comment(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\\' if rest.peek() == Some(&'#') => {
                rest.next();
                kept.push('#');
            }
            '#' => break,
            other => kept.push(other),
        }
    }
    kept.trim().to_owned()
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_known(name: &str) -> bool {
    keys::all().any(|key| key.name == name || key.also.contains(&name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn read(text: &str) -> RawSettings {
        RawSettings::of_text(Path::new("gateway.conf"), text)
    }

    #[test]
    fn lines() {
        let rows = [
            ("log_level = info", Some("info")),
            ("  log_level=info  ", Some("info")),
            ("log_level = info # louder", Some("info")),
            ("log_level = info#louder", Some("info")),
            ("log_level = a\\#b # c", Some("a#b")),
            ("log_level = a = b", Some("a = b")),
            ("log_level = \"info\"", Some("\"info\"")),
            ("log_level =", Some("")),
            ("log_level = # nothing", Some("")),
            ("log_level = C:\\x\\", Some("C:\\x\\")),
            ("#log_level = info", None),
            ("   # log_level = info", None),
            ("", None),
        ];
        for (line, expected) in rows {
            let raw = read(line);
            let found = raw.given.get("log_level").map(|given| given.text.as_str());
            assert_eq!(found, expected, "{line:?}");
            assert_eq!(raw.violations, [], "{line:?}");
        }
    }

    #[test]
    fn what_is_not_an_assignment_is_refused_without_being_repeated() {
        for line in ["hunter2", "two words = x", "= x", "[section]"] {
            let raw = read(&format!("\n{line}"));
            let [violation] = raw.violations.as_slice() else { panic!("{line:?}") };
            assert_eq!(
                violation.to_string(),
                "gateway.conf:2: expected a line of the form: key = value"
            );
        }
    }

    #[test]
    fn the_later_line_wins_and_says_so() {
        let raw = read("log_level = info\n\nlog_level = warn");
        assert_eq!(raw.given["log_level"].text, "warn");
        assert_eq!(
            raw.notices[0].to_string(),
            "gateway.conf:3: 'log_level' is set again; line 1 has no effect"
        );
    }

    #[test]
    fn a_variable_may_name_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        fs::write(&path, "s3cret\\#\n").unwrap();
        let file = ("KONG_PG_PASSWORD_FILE".to_owned(), path.display().to_string());

        let raw = RawSettings::collect(None, [file.clone()].into_iter(), &[]);
        assert_eq!(raw.given["pg_password"].text, "s3cret#");

        let direct = ("KONG_PG_PASSWORD".to_owned(), "other".to_owned());
        let raw = RawSettings::collect(None, [file, direct].into_iter(), &[]);
        assert_eq!(
            raw.violations[0].to_string(),
            "KONG_PG_PASSWORD_FILE: both this and KONG_PG_PASSWORD are set"
        );

        let absent = ("KONG_PG_PASSWORD_FILE".to_owned(), "/nonexistent/password".to_owned());
        let raw = RawSettings::collect(None, [absent].into_iter(), &[]);
        assert!(raw.violations[0].to_string().contains("/nonexistent/password: cannot be read"));
    }

    #[test]
    fn a_declarative_text_keeps_its_comments() {
        let text = "_format_version: \"3.0\" # ours\nservices: []\n";
        let variable = ("KONG_DECLARATIVE_CONFIG_STRING".to_owned(), text.to_owned());
        let raw = RawSettings::collect(None, [variable].into_iter(), &[]);
        assert_eq!(raw.given["declarative_config_string"].text, text);
    }

    #[test]
    fn a_named_file_that_is_missing() {
        let raw = RawSettings::read(Some(Path::new("/nonexistent.conf")), std::iter::empty(), &[]);
        assert_eq!(raw.violations[0].to_string(), "no file at: /nonexistent.conf");
    }
}
