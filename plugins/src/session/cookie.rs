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
/// Cookies one value may be spread over, as many as lua-resty-session makes.
const MOST: usize = 9;

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

    /// The value of a cookie the client sent, put together where it came in parts.
    pub(super) fn read(headers: &HeaderMap, name: &str) -> Option<String> {
        let first = one(headers, name)?;
        let Some((count, begin)) = first.split_once('.') else { return Some(first) };
        let count: usize = count.parse().ok().filter(|count| (2..=MOST).contains(count))?;
        let mut whole = begin.to_owned();
        for at in 2..=count {
            whole.push_str(&one(headers, &part(name, at))?);
        }
        Some(whole)
    }

    /// Lines of `Set-Cookie`: several where a value is too large for browsers, the first of which
    /// begins with how many there are; `None` where it is too large for that too. Without an age
    /// cookies end with the browser.
    pub(super) fn write(
        &self,
        name: &str,
        value: &str,
        age: Option<u64>,
    ) -> Option<Vec<HeaderValue>> {
        let whole = self.line(name, value, age);
        if whole.len() <= LARGEST {
            return Some(vec![HeaderValue::try_from(whole).ok()?]);
        }
        let room = LARGEST.checked_sub(self.line(&part(name, MOST), "", age).len())?;
        // A digit and a dot come before the value.
        let count = (value.len() + 2).div_ceil(room.max(1));
        if count > MOST {
            return None;
        }
        let marked = format!("{count}.{value}");
        let pieces = marked.as_bytes().chunks(room).enumerate();
        let line = |(at, piece): (usize, &[u8])| {
            let piece = std::str::from_utf8(piece).ok()?;
            HeaderValue::try_from(self.line(&part(name, at + 1), piece, age)).ok()
        };
        pieces.map(line).collect()
    }

    fn line(&self, name: &str, value: &str, age: Option<u64>) -> String {
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
        text
    }

    /// Lines of `Set-Cookie` that take a cookie away, and the parts of it that the client sent.
    pub(super) fn remove(&self, headers: &HeaderMap, name: &str) -> Vec<HeaderValue> {
        let parts = (2..=MOST).map(|at| part(name, at));
        let sent = parts.filter(|part| one(headers, part).is_some());
        let names = std::iter::once(name.to_owned()).chain(sent);
        names.flat_map(|name| self.write(&name, "", Some(0)).unwrap_or_default()).collect()
    }
}

/// The name of a part of a cookie, counted from 1 (lua-resty-session, `session2`).
fn part(name: &str, at: usize) -> String {
    if at == 1 { name.to_owned() } else { format!("{name}{at}") }
}

/// The value of one cookie the client sent.
fn one(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut cookies = lines.flat_map(Cookie::split_parse).flatten();
    cookies.find(|cookie| cookie.name() == name).map(|cookie| cookie.value().to_owned())
}
