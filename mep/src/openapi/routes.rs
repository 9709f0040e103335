//! [`Routes`]: the one way to give a face a resource, which tells the documents of it as well.

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter};
use utoipa::openapi::path::{HttpMethod, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::{RefOr, Required};

use super::api::Api;
use super::operation::{Operation, Schemas, Writer, text};

/// Resources of a face with their documentation. Nothing is mounted that is not told of, and nothing
/// is told of that is not mounted: both are done by [`Routes::at`], and a lint keeps
/// `axum::Router::route` from being called elsewhere.
pub(crate) struct Routes<S> {
    router: Router<S>,
    api: Api,
    described: Described,
}

/// What documents tell of resources.
#[derive(Default)]
pub(crate) struct Described {
    pub(super) paths: Vec<(Api, String, PathItem)>,
    types: Vec<Writer>,
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// None yet; those that are added belong to `api`.
    pub(crate) fn of(api: Api) -> Self {
        Self { router: Router::new(), api, described: Described::default() }
    }

    /// A resource with its methods.
    pub(crate) fn at(mut self, path: &str, with: impl FnOnce(Methods<S>) -> Methods<S>) -> Self {
        let Methods { router, operations } = with(Methods::default());
        #[expect(clippy::disallowed_methods, reason = "this is where routes come from")]
        let mounted = self.router.route(path, router);
        self.router = mounted;
        self.described.add(self.api, path, operations);
        self
    }

    /// These and the others.
    pub(crate) fn merge(mut self, others: Self) -> Self {
        self.router = self.router.merge(others.router);
        self.described.extend(others.described);
        self
    }

    /// Puts something around what is there so far.
    pub(crate) fn around(mut self, with: impl FnOnce(Router<S>) -> Router<S>) -> Self {
        self.router = with(self.router);
        self
    }

    /// What answers.
    pub(crate) fn into_router(self) -> Router<S> {
        self.router
    }

    /// What is told of it.
    pub(crate) fn into_described(self) -> Described {
        self.described
    }
}

/// The methods of one resource.
pub(crate) struct Methods<S> {
    router: MethodRouter<S>,
    operations: Vec<(HttpMethod, Operation)>,
}

impl<S: Clone + Send + Sync + 'static> Default for Methods<S> {
    fn default() -> Self {
        Self { router: MethodRouter::new(), operations: Vec::new() }
    }
}

impl<S: Clone + Send + Sync + 'static> Methods<S> {
    pub(crate) fn get<H: Handler<T, S>, T: 'static>(self, handler: H, told: Operation) -> Self {
        self.on(HttpMethod::Get, MethodFilter::GET, handler, told)
    }

    pub(crate) fn post<H: Handler<T, S>, T: 'static>(self, handler: H, told: Operation) -> Self {
        self.on(HttpMethod::Post, MethodFilter::POST, handler, told)
    }

    pub(crate) fn put<H: Handler<T, S>, T: 'static>(self, handler: H, told: Operation) -> Self {
        self.on(HttpMethod::Put, MethodFilter::PUT, handler, told)
    }

    pub(crate) fn patch<H: Handler<T, S>, T: 'static>(self, handler: H, told: Operation) -> Self {
        self.on(HttpMethod::Patch, MethodFilter::PATCH, handler, told)
    }

    pub(crate) fn delete<H: Handler<T, S>, T: 'static>(self, handler: H, told: Operation) -> Self {
        self.on(HttpMethod::Delete, MethodFilter::DELETE, handler, told)
    }

    fn on<H: Handler<T, S>, T: 'static>(
        mut self,
        method: HttpMethod,
        filter: MethodFilter,
        handler: H,
        told: Operation,
    ) -> Self {
        self.router = self.router.on(filter, handler);
        self.operations.push((method, told));
        self
    }
}

impl Described {
    /// Tells of one resource.
    pub(crate) fn add(
        &mut self,
        api: Api,
        path: &str,
        operations: impl IntoIterator<Item = (HttpMethod, Operation)>,
    ) {
        let mut resource = PathItem::default();
        let parameters = parameters(path);
        if !parameters.is_empty() {
            resource.parameters = Some(parameters);
        }
        for (method, Operation { mut told, types }) in operations {
            told.operation_id = Some(id(&method, path));
            told.tags = Some(vec![api.name().to_owned()]);
            self.types.extend(types);
            resource.merge_operations(PathItem::new(method, told));
        }
        match self.paths.iter_mut().find(|(_, known, _)| known == path) {
            Some((.., known)) => known.merge_operations(resource),
            None => self.paths.push((api, path.to_owned(), resource)),
        }
    }

    pub(super) fn extend(&mut self, others: Self) {
        self.paths.extend(others.paths);
        self.types.extend(others.types);
    }

    /// The types it names.
    pub(super) fn schemas(&self) -> Schemas {
        let mut schemas = Schemas::new();
        for write in &self.types {
            write(&mut schemas);
        }
        schemas
    }
}

/// The parameters a path has.
fn parameters(path: &str) -> Vec<RefOr<utoipa::openapi::path::Parameter>> {
    let names = path.split('/').filter_map(|segment| {
        segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}'))
    });
    let parameter = |name| {
        let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path);
        RefOr::T(parameter.required(Required::True).schema(Some(text())).build())
    };
    names.map(parameter).collect()
}

/// One name for each operation: its method and its path.
fn id(method: &HttpMethod, path: &str) -> String {
    let mut id = match method {
        HttpMethod::Get => "get",
        HttpMethod::Post => "post",
        HttpMethod::Put => "put",
        HttpMethod::Patch => "patch",
        HttpMethod::Delete => "delete",
        HttpMethod::Options | HttpMethod::Head | HttpMethod::Trace => "other",
    }
    .to_owned();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        id.push('_');
        id.push_str(segment.trim_matches(['{', '}']));
    }
    id
}
