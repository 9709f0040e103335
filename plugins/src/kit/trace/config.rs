use gateway_model::Violations;
use gateway_model::schema::Record;
use http::HeaderName;
use serde::Deserialize;
use serde_json::Value;

/// A way to write trace context into headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    W3c,
    B3,
    B3Single,
    Jaeger,
    Ot,
    Datadog,
    Aws,
    Gcp,
    Instana,
}

impl Format {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "w3c" => Self::W3c,
            "b3" => Self::B3,
            "b3-single" => Self::B3Single,
            "jaeger" => Self::Jaeger,
            "ot" => Self::Ot,
            "datadog" => Self::Datadog,
            "aws" => Self::Aws,
            "gcp" => Self::Gcp,
            "instana" => Self::Instana,
            _ => return None,
        })
    }
}

/// Which formats are read and written (kong/observability/tracing/propagation/schema.lua).
#[derive(Clone, Debug, Deserialize, Record)]
pub(crate) struct PropagationConfig {
    /// Formats that are looked for, in this order; the first found counts.
    #[record(elements(|e| e.one_of([
        "jaeger", "ot", "datadog", "aws", "gcp", "instana", "w3c", "b3",
    ])))]
    extract: Option<Vec<String>>,
    /// Headers taken away before anything is written.
    #[record(elements(|e| e.is("header_name", types::header_name)))]
    clear: Option<Vec<String>>,
    /// Formats that are written; `preserve` is the one that was found.
    #[record(elements(|e| e.one_of([
        "preserve", "b3-single", "jaeger", "ot", "datadog", "aws", "gcp", "instana", "w3c", "b3",
    ])))]
    inject: Option<Vec<String>>,
    /// What `preserve` is when nothing was found.
    #[record(one_of([
        "b3-single", "jaeger", "ot", "datadog", "aws", "gcp", "instana", "w3c", "b3",
    ]))]
    default_format: String,
}

/// The fields of Kong before 3.7 that say the same.
pub(crate) struct Legacy<'c> {
    pub(crate) header_type: Option<&'c str>,
    pub(crate) default_header_type: Option<&'c str>,
}

/// Which formats are read and written.
#[derive(Clone, Debug)]
pub(crate) struct Propagation {
    pub(super) extract: Vec<Format>,
    pub(super) clear: Vec<HeaderName>,
    /// `None` is `preserve`.
    pub(super) inject: Vec<Option<Format>>,
    pub(super) default_format: Format,
}

/// The order in which Kong looks unless it is told.
const USUAL: [Format; 8] = [
    Format::B3,
    Format::W3c,
    Format::Jaeger,
    Format::Ot,
    Format::Datadog,
    Format::Aws,
    Format::Gcp,
    Format::Instana,
];

impl Propagation {
    /// The old fields count where none of the new ones but the default is set.
    ///
    /// # Errors
    ///
    /// A name the schema let pass and that is none.
    pub(crate) fn prepare(
        config: &PropagationConfig,
        legacy: &Legacy<'_>,
    ) -> Result<Self, Violations> {
        let unknown = |name: &str| {
            Violations::one(
                "propagation",
                Value::from(format!("unknown format: {name}")).to_string(),
            )
        };
        let format = |name: &str| Format::named(name).ok_or_else(|| unknown(name));
        let is_new = config.extract.is_some() || config.clear.is_some() || config.inject.is_some();
        let names = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
        if is_new {
            let inject = |name: &String| match name.as_str() {
                "preserve" => Ok(None),
                name => format(name).map(Some),
            };
            let extract = names(&config.extract);
            let clear = names(&config.clear);
            return Ok(Self {
                extract: extract.iter().map(|name| format(name)).collect::<Result<_, _>>()?,
                clear: clear.iter().filter_map(|name| name.parse().ok()).collect(),
                inject: names(&config.inject).iter().map(inject).collect::<Result<_, _>>()?,
                default_format: format(&config.default_format)?,
            });
        }
        let default = legacy.default_header_type.unwrap_or(&config.default_format);
        let default_format = format(default)?;
        let (extract, inject) = match legacy.header_type {
            None => (Vec::new(), Vec::new()),
            Some("preserve") => (USUAL.to_vec(), vec![None]),
            Some("ignore") => (Vec::new(), vec![Some(default_format)]),
            Some(name) => (USUAL.to_vec(), vec![None, Some(format(name)?)]),
        };
        Ok(Self { extract, clear: Vec::new(), inject, default_format })
    }
}
