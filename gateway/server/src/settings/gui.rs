//! Kong Manager: who may call the Admin API from a browser, and what such a page is told.

use url::Url;

use super::reader::Reader;

#[derive(Debug)]
pub(crate) struct Gui {
    /// Origins of its pages, `https://manager.example:8445`. Empty: any may call the Admin API.
    pub(crate) origins: Vec<String>,
    /// Path its pages are below; begins with `/`.
    pub(crate) path: String,
    /// The Admin API as a browser sees it, without a trailing slash.
    pub(crate) api_url: Option<String>,
}

impl Gui {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            origins: reader.each("admin_gui_url", |text| {
                origin(text).ok_or_else(|| format!("admin_gui_url is not a valid URL: '{text}'"))
            }),
            path: reader.read("admin_gui_path", |text| path(text).map(str::to_owned)),
            api_url: reader.read("admin_gui_api_url", |text| match text {
                "" => Ok(None),
                text if origin(text).is_some() => Ok(Some(text.trim_end_matches('/').to_owned())),
                text => Err(format!("admin_gui_api_url is not a valid URL: '{text}'")),
            }),
        }
    }
}

/// Scheme, host and, unless it is the scheme's own, port: what a browser sends as `Origin`.
fn origin(text: &str) -> Option<String> {
    let url = Url::parse(text).ok().filter(|url| ["http", "https"].contains(&url.scheme()))?;
    Some(url.origin().ascii_serialization())
}

/// Kong's rules of a path (kong/conf_loader/parse.lua).
fn path(text: &str) -> Result<&str, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_/".contains(c);
    if !text.starts_with('/') {
        return Err("admin_gui_path must start with a slash ('/')".to_owned());
    }
    if text != "/" && text.ends_with('/') {
        return Err("admin_gui_path must not end with a slash ('/')".to_owned());
    }
    if !text.chars().all(plain) {
        return Err("admin_gui_path can only contain letters, digits, hyphens ('-'), \
                    underscores ('_'), and slashes ('/')"
            .to_owned());
    }
    if text.contains("//") {
        return Err("admin_gui_path must not contain continuous slashes ('/')".to_owned());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::{origin, path};

    #[test]
    fn origins_are_what_browsers_send() {
        for (url, wanted) in [
            ("http://localhost:8002", Some("http://localhost:8002")),
            ("https://manager.example:443/ui/", Some("https://manager.example")),
            ("HTTP://Manager.Example", Some("http://manager.example")),
            ("manager.example", None),
            ("ftp://manager.example", None),
            ("", None),
        ] {
            assert_eq!(origin(url).as_deref(), wanted, "{url}");
        }
    }

    #[test]
    fn paths_begin_with_a_slash() {
        for (text, good) in
            [("/", true), ("/ui", true), ("/a/b", true), ("ui", false), ("/ui/", false)]
        {
            assert_eq!(path(text).is_ok(), good, "{text}");
        }
        assert!(path("/a//b").is_err() && path("/a b").is_err());
    }
}
