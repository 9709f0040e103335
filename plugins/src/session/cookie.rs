//! [`Cookies`]: how cookies are read and written.

use cookie::{Cookie, SameSite as Site};
use http::{HeaderMap, HeaderValue, header};

use super::config::{Config, SameSite};

/// How cookies of an instance are written.
pub(super) struct Cookies {
    path: String,
    domain: Option<String>,
    same_site: Option<Site>,
    http_only: bool,
    secure: bool,
}

/// Bytes of a cookie that every browser takes (RFC 6265, section 6.1).
const LARGEST: usize = 4096;

impl Cookies {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            path: config.cookie_path.clone().unwrap_or_else(|| "/".to_owned()),
            domain: config.cookie_domain.clone(),
            same_site: match config.cookie_same_site {
                Some(SameSite::Strict) => Some(Site::Strict),
                Some(SameSite::Lax) => Some(Site::Lax),
                Some(SameSite::None) => Some(Site::None),
                Some(SameSite::Default) | None => None,
            },
            http_only: config.cookie_http_only.unwrap_or(true),
            secure: config.cookie_secure.unwrap_or(true),
        }
    }

    /// The value of a cookie the client sent.
    pub(super) fn read(headers: &HeaderMap, name: &str) -> Option<String> {
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut cookies = lines.flat_map(Cookie::split_parse).flatten();
        cookies.find(|cookie| cookie.name() == name).map(|cookie| cookie.value().to_owned())
    }

    /// A line of `Set-Cookie`; `None` when it is too large for browsers. Without an age the cookie
    /// ends with the browser.
    pub(super) fn write(&self, name: &str, value: &str, age: Option<u64>) -> Option<HeaderValue> {
        let mut built = Cookie::build((name, value)).path(&*self.path);
        if let Some(domain) = &self.domain {
            built = built.domain(&**domain);
        }
        if let Some(site) = self.same_site {
            built = built.same_site(site);
        }
        let mut text = built.http_only(self.http_only).secure(self.secure).build().to_string();
        if let Some(age) = age {
            text.push_str(&format!("; Max-Age={age}"));
        }
        (text.len() <= LARGEST).then(|| HeaderValue::try_from(text).ok()).flatten()
    }

    /// A line of `Set-Cookie` that takes a cookie away.
    pub(super) fn remove(&self, name: &str) -> Option<HeaderValue> {
        self.write(name, "", Some(0))
    }
}
