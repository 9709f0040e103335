//! What fuzz targets do to the parts of the proxy nobody else can reach: each function takes any
//! bytes, and panics when something does not hold that always must. The corpus is in `gateway/fuzz`,
//! where an ordinary test runs these on it.

pub(crate) mod decided;
pub(crate) mod linear;
mod routing;

use crate::options::ErrorType;
use crate::template::ErrorTemplate;

type Attack = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Attack); 6] = [
    ("path", routing::path),
    ("host", routing::host),
    ("header", routing::header),
    ("expression", routing::expression),
    ("router", decided::router),
    ("template", template),
];

/// A template of error bodies and a message, a line each: what is taken has two places, and both are
/// filled.
fn template(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (message, template) = text.split_once('\n').unwrap_or(("", &text));
    let Ok(template) = ErrorTemplate::parse(template) else { return };
    for kind in [ErrorType::Html, ErrorType::Json, ErrorType::Plain, ErrorType::Xml] {
        let empty = template.filled(kind, "", "").len();
        let filled = template.filled(kind, message, "id");
        assert!(filled.len() >= empty + message.len() + 2, "{filled}");
    }
}
