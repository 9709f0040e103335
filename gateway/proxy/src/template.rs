//! [`ErrorTemplate`]: an operator's own form of the gateway's errors (`error_template_*`).

use crate::options::ErrorType;

/// A text with two places, each written `%s`: for the message and for the request id.
#[derive(Clone, Debug)]
pub struct ErrorTemplate {
    parts: [Box<str>; 3],
}

impl ErrorTemplate {
    /// Reads a template; `%%` stands for a percent sign, as in Kong, which formats it with Lua.
    ///
    /// # Errors
    ///
    /// When it does not have exactly two places, or another use of `%`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = vec![String::new()];
        let mut rest = text.chars();
        while let Some(char) = rest.next() {
            let last = parts.len() - 1;
            match (char, if char == '%' { rest.next() } else { None }) {
                ('%', Some('%')) => parts[last].push('%'),
                ('%', Some('s')) => parts.push(String::new()),
                ('%', _) => return Err("a % must be followed by s or %".to_owned()),
                (char, _) => parts[last].push(char),
            }
        }
        let places = parts.len() - 1;
        let parts: Vec<Box<str>> = parts.into_iter().map(String::into_boxed_str).collect();
        match parts.try_into() {
            Ok(parts) => Ok(Self { parts }),
            Err(_) => Err(format!("it has {places} places for %s instead of two")),
        }
    }

    /// The text with its places filled, each as the type of the text wants it.
    pub(crate) fn filled(&self, kind: ErrorType, message: &str, request_id: &str) -> String {
        let message = match kind {
            ErrorType::Html | ErrorType::Xml => escaped(message),
            ErrorType::Json => {
                // Within the quotes the template has.
                let quoted = serde_json::Value::from(message).to_string();
                quoted[1..quoted.len() - 1].to_owned()
            }
            ErrorType::Plain | ErrorType::Grpc => message.to_owned(),
        };
        let [before, between, after] = &self.parts;
        [before, message.as_str(), between, request_id, after].concat()
    }
}

/// The templates there are.
#[derive(Clone, Debug, Default)]
pub struct ErrorTemplates {
    /// `error_template_html`
    pub html: Option<ErrorTemplate>,
    /// `error_template_json`
    pub json: Option<ErrorTemplate>,
    /// `error_template_plain`
    pub plain: Option<ErrorTemplate>,
    /// `error_template_xml`
    pub xml: Option<ErrorTemplate>,
}

impl ErrorTemplates {
    pub(crate) const fn of(&self, kind: ErrorType) -> Option<&ErrorTemplate> {
        match kind {
            ErrorType::Html => self.html.as_ref(),
            ErrorType::Json => self.json.as_ref(),
            ErrorType::Plain => self.plain.as_ref(),
            ErrorType::Xml => self.xml.as_ref(),
            ErrorType::Grpc => None,
        }
    }
}

/// A text inside HTML or XML.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn places_are_filled() {
        let template = ErrorTemplate::parse("100%% {\"m\":\"%s\",\"id\":\"%s\"}\n").unwrap();
        let filled = template.filled(ErrorType::Json, "a \"b\"", "7");
        assert_eq!(filled, "100% {\"m\":\"a \\\"b\\\"\",\"id\":\"7\"}\n");
        let template = ErrorTemplate::parse("%s%s").unwrap();
        assert_eq!(template.filled(ErrorType::Html, "<a>", "7"), "&lt;a&gt;7");
        assert_eq!(template.filled(ErrorType::Plain, "<a>", "7"), "<a>7");
    }

    #[test]
    fn others_are_refused() {
        for text in ["", "%s", "%s %s %s", "%d %s %s", "%s %s %"] {
            assert!(ErrorTemplate::parse(text).is_err(), "{text}");
        }
    }
}
