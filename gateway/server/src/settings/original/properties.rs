//! `mepauth.properties`.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use gateway_model::Secret;

use super::Refusal;
use crate::settings::network::{self, Networks};

/// `mepauth.properties`: the bootstrap application and what protects its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Properties {
    /// `KEY_COMPONENT`, 256 bytes or more, of which the first 256 enter the root key.
    pub(crate) key_component: Secret<String>,
    /// `JWT_PRIVATE_KEY`: despite its name the password of that key.
    pub(crate) jwt_key_password: Secret<String>,
    /// `APP_INST_ID`, a UUID in lower case.
    pub(crate) app_instance_id: String,
    /// `ACCESS_KEY`, 20 characters.
    pub(crate) access_key: String,
    /// `SECRET_KEY`, 64 characters.
    pub(crate) secret_key: Secret<String>,
    /// `TRUSTED_LIST`; empty when absent.
    pub(crate) trusted: Networks,
    pub(crate) required_services: RequiredServices,
}

/// `REQUIRED_SERVICES`: what the bootstrap application may discover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RequiredServices {
    /// `*`
    All,
    /// A JSON array of service names; empty when the key is absent.
    These(Vec<String>),
}

impl Properties {
    /// Reads `KEY=VALUE` lines; there are no comments, and lines without `=` mean nothing. A value
    /// goes on to the end of its line. `allow_defaults` admits the credentials EdgeGallery
    /// published.
    ///
    /// # Errors
    ///
    /// Every broken rule, with its line.
    pub(crate) fn parse(text: &str, allow_defaults: bool) -> Result<Self, Vec<Refusal>> {
        let mut lines = Lines::of(text);
        let key_component = lines.required("KEY_COMPONENT", |text| {
            (text.len() >= 256).then_some(()).ok_or("must have at least 256 bytes")
        });
        let jwt_key_password = lines.required("JWT_PRIVATE_KEY", |text| {
            is_password(text).then_some(()).ok_or(
                "must have 8 to 16 characters, of at least two of these kinds: lower case, \
                 upper case, digits, special characters",
            )
        });
        let app_instance_id = lines.required("APP_INST_ID", |text| {
            is_lower_uuid(text).then_some(()).ok_or("must be a UUID in lower case")
        });
        let access_key = lines.required("ACCESS_KEY", |text| {
            is_key(text, 20)
                .then_some(())
                .ok_or("must be 20 characters of letters, digits and _ + / =")
        });
        let secret_key = lines.required("SECRET_KEY", |text| {
            is_key(text, 64)
                .then_some(())
                .ok_or("must be 64 characters of letters, digits and _ + / =")
        });
        let trusted = lines.trusted();
        let required_services = lines.required_services();
        if !allow_defaults {
            lines.refuse_published();
        }
        if !lines.refusals.is_empty() {
            return Err(lines.refusals);
        }
        Ok(Self {
            key_component: key_component.into(),
            jwt_key_password: jwt_key_password.into(),
            app_instance_id,
            access_key,
            secret_key: secret_key.into(),
            trusted,
            required_services,
        })
    }
}

/// SHA-256 of what EdgeGallery's charts ship, by key. The application's id is not among them: it
/// names, it proves nothing.
const PUBLISHED: [(&str, &str); 3] = [
    ("KEY_COMPONENT", "222801c7413746dd01af59ed282f5f6fd324773fdfd78b4b933794a6615c7cc8"),
    ("ACCESS_KEY", "0ffc9758a3305f99fd7736827b100caa5e6b71d84755c99c5227ad3918566874"),
    ("SECRET_KEY", "779813ef35bc860ecdd5fac9e0a74b2dabf12a25b1a6e2bc340588a06c348c94"),
];

/// The assignments of a file, the last of each key, and what is wrong with them.
struct Lines<'a> {
    values: BTreeMap<&'a str, (usize, &'a str)>,
    refusals: Vec<Refusal>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let values = text
            .lines()
            .enumerate()
            .filter_map(|(index, line)| {
                let (key, value) = line.split_once('=')?;
                Some((key.trim(), (index + 1, value.trim())))
            })
            .collect();
        Self { values, refusals: Vec::new() }
    }

    fn required(&mut self, key: &str, rule: impl Fn(&str) -> Result<(), &'static str>) -> String {
        let Some(&(line, value)) = self.values.get(key).filter(|(_, value)| !value.is_empty())
        else {
            let line = self.values.get(key).map(|(line, _)| *line);
            self.refusals.push(Refusal { line, text: format!("{key} is missing") });
            return String::new();
        };
        if let Err(text) = rule(value) {
            self.refuse(line, format!("{key} {text}"));
        }
        value.to_owned()
    }

    fn trusted(&mut self) -> Networks {
        let Some(&(line, value)) = self.values.get("TRUSTED_LIST") else {
            return Networks::default();
        };
        let mut trusted = Vec::new();
        for part in value.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            match network::network(part) {
                Some(network) => trusted.push(network),
                None => {
                    self.refuse(line, format!("TRUSTED_LIST: no address or CIDR block: '{part}'"))
                }
            }
        }
        Networks(trusted)
    }

    fn required_services(&mut self) -> RequiredServices {
        match self.values.get("REQUIRED_SERVICES") {
            None | Some((_, "")) => RequiredServices::These(Vec::new()),
            Some((_, "*")) => RequiredServices::All,
            Some(&(line, value)) => match serde_json::from_str(value) {
                Ok(names) => RequiredServices::These(names),
                Err(_) => {
                    self.refuse(
                        line,
                        "REQUIRED_SERVICES must be * or a JSON array of names".to_owned(),
                    );
                    RequiredServices::These(Vec::new())
                }
            },
        }
    }

    fn refuse_published(&mut self) {
        for (key, published) in PUBLISHED {
            let Some(&(line, value)) = self.values.get(key) else { continue };
            if hex::encode(digest::digest(&digest::SHA256, value.as_bytes())) == published {
                self.refuse(
                    line,
                    format!(
                        "{key} is the published default, which everybody knows \
                         (mep_allow_default_credentials = on admits it)"
                    ),
                );
            }
        }
    }

    fn refuse(&mut self, line: usize, text: String) {
        self.refusals.push(Refusal { line: Some(line), text });
    }
}

/// 8 to 16 bytes, of at least two of the four kinds.
fn is_password(text: &str) -> bool {
    const SPECIAL: &str = r#"`'~!@#$%^&*()-_=+\|[{}];:",<.>/?"#;
    let kinds: [fn(char) -> bool; 4] = [
        |c| c.is_ascii_lowercase(),
        |c| c.is_ascii_uppercase(),
        |c| c.is_ascii_digit(),
        |c| SPECIAL.contains(c),
    ];
    let present = kinds.iter().filter(|kind| text.chars().any(**kind)).count();
    (8..=16).contains(&text.len()) && present >= 2
}

fn is_lower_uuid(text: &str) -> bool {
    uuid::Uuid::try_parse(text).is_ok_and(|uuid| uuid.hyphenated().to_string() == text)
}

fn is_key(text: &str, length: usize) -> bool {
    text.len() == length
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+/=".contains(&byte))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// What EdgeGallery's charts and test collections carry.
    const PUBLISHED_AK: &str = "QVUJMSUMgS0VZLS0tLS0";

    /// A valid file in which one line is replaced, or added when the key is new.
    fn file(key: &str, value: &str) -> String {
        let component = "k".repeat(256);
        let secret_key = "abcdefgh".repeat(8);
        let mut lines = vec![
            ("KEY_COMPONENT", component.as_str()),
            ("JWT_PRIVATE_KEY", "te9Fmv%qaq"),
            ("APP_INST_ID", "5abe4782-2c70-4e47-9a4e-0ee3a1a0fd1f"),
            ("ACCESS_KEY", "AbCdEfGhIjKlMnOpQr+="),
            ("SECRET_KEY", &secret_key),
        ];
        match lines.iter_mut().find(|(name, _)| *name == key) {
            Some(line) => line.1 = value,
            None if key.is_empty() => {}
            None => lines.push((key, value)),
        }
        lines.iter().map(|(key, value)| format!("{key}={value}\n")).collect()
    }

    #[test]
    fn a_whole_file() {
        let text = file("TRUSTED_LIST", "10.0.0.1;192.168.0.0/16;")
            .replace('=', " = ")
            .replace("+ = ", "+=");
        let text = format!("# no comment, but no assignment either\n\n{text}OTHER=x\r\n");
        let properties = Properties::parse(&text, false).unwrap();
        assert_eq!(properties.access_key, "AbCdEfGhIjKlMnOpQr+=", "to the end of the line");
        assert_eq!(properties.jwt_key_password.expose(), "te9Fmv%qaq");
        assert_eq!(properties.trusted.0.len(), 2);
        assert!(properties.trusted.contains("192.168.3.4".parse().unwrap()));
        assert_eq!(properties.required_services, RequiredServices::These(vec![]));
        let shown = format!("{properties:?}");
        assert!(
            !shown.contains("te9Fmv") && !shown.contains("abcdefgh") && !shown.contains("kkkk"),
            "{shown}"
        );
    }

    #[test]
    fn rules() {
        let rows = [
            ("KEY_COMPONENT", "short", 1, "KEY_COMPONENT must have at least 256 bytes"),
            ("KEY_COMPONENT", "", 1, "KEY_COMPONENT is missing"),
            ("JWT_PRIVATE_KEY", "onlylower", 2, "JWT_PRIVATE_KEY must have 8 to 16"),
            ("JWT_PRIVATE_KEY", "Short1", 2, "JWT_PRIVATE_KEY must have 8 to 16"),
            ("JWT_PRIVATE_KEY", "Much2LongForThat!", 2, "JWT_PRIVATE_KEY must have 8 to 16"),
            (
                "APP_INST_ID",
                "5ABE4782-2C70-4E47-9A4E-0EE3A1A0FD1F",
                3,
                "APP_INST_ID must be a UUID",
            ),
            ("APP_INST_ID", "5abe47822c704e479a4e0ee3a1a0fd1f", 3, "APP_INST_ID must be a UUID"),
            ("ACCESS_KEY", "AbCdEfGhIjKlMnOpQr+", 4, "ACCESS_KEY must be 20"),
            ("ACCESS_KEY", "AbCdEfGhIjKlMnOpQr-=", 4, "ACCESS_KEY must be 20"),
            ("ACCESS_KEY", PUBLISHED_AK, 4, "ACCESS_KEY is the published default"),
            ("SECRET_KEY", "x", 5, "SECRET_KEY must be 64"),
            (
                "TRUSTED_LIST",
                "10.0.0.1;nonsense",
                6,
                "TRUSTED_LIST: no address or CIDR block: 'nonsense'",
            ),
            ("REQUIRED_SERVICES", "serviceA", 6, "REQUIRED_SERVICES must be * or a JSON array"),
        ];
        for (key, value, line, expected) in rows {
            let refusals = Properties::parse(&file(key, value), false).unwrap_err();
            let [Refusal { line: found, text }] = refusals.as_slice() else {
                panic!("{key}={value}: {refusals:?}")
            };
            assert!(text.starts_with(expected), "{key}={value}: {text}");
            assert_eq!(*found, Some(line), "{key}={value}");
        }
    }

    #[test]
    fn all_faults_at_once() {
        let refusals = Properties::parse("ACCESS_KEY=x\n", false).unwrap_err();
        assert_eq!(refusals.len(), 5, "{refusals:?}");
        assert_eq!(refusals.iter().filter(|refusal| refusal.line.is_none()).count(), 4);
    }

    #[test]
    fn what_may_be_discovered() {
        for (text, expected) in [
            ("*", RequiredServices::All),
            ("", RequiredServices::These(vec![])),
            ("[]", RequiredServices::These(vec![])),
            (r#"["a", "b"]"#, RequiredServices::These(vec!["a".into(), "b".into()])),
        ] {
            let properties = Properties::parse(&file("REQUIRED_SERVICES", text), false).unwrap();
            assert_eq!(properties.required_services, expected, "{text}");
        }
    }

    #[test]
    fn published_credentials_need_a_switch() {
        let text = file("ACCESS_KEY", PUBLISHED_AK);
        assert!(Properties::parse(&text, false).is_err());
        assert_eq!(Properties::parse(&text, true).unwrap().access_key, PUBLISHED_AK);
    }
}
