//! [`Operation`]: what the documents tell of one method of one resource.

use http::StatusCode;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{
    Content, ContentBuilder, Header, Ref, RefOr, Required, SecurityRequirement, path,
};

/// Types a document names, by their names.
pub(super) type Schemas = Vec<(String, RefOr<Schema>)>;

/// What writes a type, and those it names, into a document. Done when a document is made: at the
/// start nobody needs it, and it takes megabytes.
pub(super) type Writer = fn(&mut Schemas);

/// The security scheme of tokens, which the gateway verifies.
pub(super) const TOKEN: &str = "token";
/// The security scheme of calls that do not come by the gateway.
pub(super) const DIRECT: &str = "direct";

const JSON: &str = "application/json";

/// What the documents tell of one method of one resource. [`super::Routes`] adds what follows from
/// where it is: the parameters of its path, its id, and the API it belongs to.
pub(crate) struct Operation {
    pub(super) told: path::Operation,
    pub(super) types: Vec<Writer>,
}

impl Operation {
    /// An operation that needs no proof of who calls.
    pub(crate) fn new(summary: &str) -> Self {
        let mut told = path::Operation::new();
        told.summary = Some(summary.to_owned());
        Self { told, types: Vec::new() }
    }

    /// It is asked by an application: with a token by the gateway, with its id directly.
    pub(crate) fn by_app(mut self) -> Self {
        let scheme = |name| SecurityRequirement::new(name, Vec::<String>::new());
        self.told.security = Some(vec![scheme(TOKEN), scheme(DIRECT)]);
        self
    }

    /// More than the summary says.
    pub(crate) fn says(mut self, text: &str) -> Self {
        self.told.description = Some(text.to_owned());
        self
    }

    /// Where the standard has it.
    pub(crate) fn clause(self, clause: &str) -> Self {
        self.says(&format!("ETSI GS MEC 011, clause {clause}."))
    }

    /// A parameter.
    pub(crate) fn parameter(mut self, parameter: impl Into<Parameter>) -> Self {
        let parameters = self.told.parameters.get_or_insert_default();
        parameters.push(RefOr::T(parameter.into()));
        self
    }

    /// A header a request may have.
    pub(crate) fn header(self, name: &str, says: &str) -> Self {
        self.parameter(optional(name, ParameterIn::Header, says).schema(Some(text())))
    }

    /// A parameter of the query that is text.
    pub(crate) fn query(self, name: &str, says: &str) -> Self {
        self.parameter(optional(name, ParameterIn::Query, says).schema(Some(text())))
    }

    /// A body of this type, as `example` is one.
    pub(crate) fn takes<T: ToSchema>(self, example: Value) -> Self {
        self.takes_as::<T>(&[JSON], example)
    }

    /// A body that is any JSON.
    pub(crate) fn takes_anything(self, example: Value) -> Self {
        self.body(&[JSON], &anything(), example)
    }

    /// The same, called any of these content types.
    pub(crate) fn takes_as<T: ToSchema>(mut self, kinds: &[&str], example: Value) -> Self {
        let schema = self.named::<T>();
        self.body(kinds, &schema, example)
    }

    fn body(mut self, kinds: &[&str], schema: &RefOr<Schema>, example: Value) -> Self {
        let mut body = RequestBodyBuilder::new().required(Some(Required::True));
        for kind in kinds {
            let content = ContentBuilder::new().schema(Some(schema.clone()));
            body = body.content(*kind, content.example(Some(example.clone())).build());
        }
        self.told.request_body = Some(RefOr::T(body.build()));
        self
    }

    /// A success with a body of this type.
    pub(crate) fn answers<T: ToSchema>(mut self, status: StatusCode, says: &str) -> Self {
        let schema = self.named::<T>();
        self.responds(status, says, Some((JSON, schema)))
    }

    /// A success with a list of bodies of this type.
    pub(crate) fn lists<T: ToSchema>(mut self, says: &str) -> Self {
        let list = ArrayBuilder::new().items(self.named::<T>());
        self.responds(StatusCode::OK, says, Some((JSON, list.into())))
    }

    /// A success without a body.
    pub(crate) fn answers_nothing(self, status: StatusCode, says: &str) -> Self {
        self.responds(status, says, None)
    }

    /// A success that is text.
    pub(crate) fn answers_text(self, says: &str) -> Self {
        self.responds(StatusCode::OK, says, Some(("text/plain", text())))
    }

    /// Failures with a body of this type.
    pub(crate) fn fails<T: ToSchema>(mut self, kind: &str, statuses: &[StatusCode]) -> Self {
        let schema = self.named::<T>();
        for status in statuses {
            let says = status.canonical_reason().unwrap_or("Error");
            self = self.responds(*status, says, Some((kind, schema.clone())));
        }
        self
    }

    /// An answer; of several with one status and one content type, any of their bodies.
    pub(crate) fn responds(
        mut self,
        status: StatusCode,
        says: &str,
        body: Option<(&str, RefOr<Schema>)>,
    ) -> Self {
        let mut response = ResponseBuilder::new().description(says);
        if let Some((kind, schema)) = body {
            response = response.content(kind, Content::new(Some(schema)));
        }
        self.told.responses.responses.insert(status.as_str().to_owned(), response.build().into());
        self
    }

    /// A header the answer with this status has.
    pub(crate) fn with_header(mut self, status: StatusCode, name: &str, says: &str) -> Self {
        if let Some(RefOr::T(response)) = self.told.responses.responses.get_mut(status.as_str()) {
            let mut header = Header::new(text());
            header.description = Some(says.to_owned());
            response.headers.insert(name.to_owned(), header.into());
        }
        self
    }

    /// A reference to a type, which the document will have.
    pub(crate) fn named<T: ToSchema>(&mut self) -> RefOr<Schema> {
        self.types.push(|schemas| {
            schemas.push((T::name().into_owned(), T::schema()));
            T::schemas(schemas);
        });
        RefOr::Ref(Ref::from_schema_name(T::name()))
    }
}

/// A parameter that may be left out.
pub(crate) fn optional(name: &str, at: ParameterIn, says: &str) -> ParameterBuilder {
    let parameter = ParameterBuilder::new().name(name).parameter_in(at);
    parameter.required(Required::False).description(Some(says))
}

/// Any text.
pub(crate) fn text() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).into()
}

/// Any JSON.
pub(crate) fn anything() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(SchemaType::AnyValue).into()
}

/// One of these words.
pub(crate) fn one_of(words: &[&str]) -> RefOr<Schema> {
    let words = words.iter().copied().map(Value::from);
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).into()
}

impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operation").field("summary", &self.told.summary).finish_non_exhaustive()
    }
}
