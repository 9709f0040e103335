use gateway_model::Violations;
use http::{Method, StatusCode};

use super::config::Config;
use super::scope::RequestScope;
use super::steps::{Lists, Steps};
use super::{body, headers, query};
use crate::contract::{
    ANY, Flow, HTTP, Handler, Needs, Phases, Plugin, Reply, Request, RequestBody, Setup,
};
use crate::kit::body::Arguments;
use crate::kit::template::Template;

/// One instance (kong/plugins/request-transformer/access.lua).
pub(crate) struct RequestTransformer {
    method: Option<Method>,
    path: Option<Template>,
    headers: Steps,
    body: Steps,
    query: Steps,
}

impl Plugin for RequestTransformer {
    const NAME: &'static str = "request-transformer";
    const PRIORITY: i32 = 801;
    const PHASES: Phases = Phases::ACCESS;
    const PROTOCOLS: &'static [&'static str] = ANY;
    const DEFAULT_PROTOCOLS: &'static [&'static str] = HTTP;
    type Config = Config;

    fn build(config: Config, _: &Setup<'_>) -> Result<Self, Violations> {
        let mut violations = Violations::new();
        let Config { http_method, remove, rename, replace, add, append } = &config;
        let path = replace.uri.as_deref().map(Template::parse).transpose();
        let path = path.unwrap_or_else(|why| {
            violations.add("replace.uri", why.into());
            None
        });
        let method = http_method.as_deref().map(|name| Method::from_bytes(name.as_bytes()));
        let method =
            method.transpose().map_err(|why| Violations::one("http_method", why.to_string()))?;
        let mut steps = |lists: Lists<'_>| Steps::prepare(&lists, &mut violations);
        let made = Self {
            method,
            path,
            headers: steps(Lists {
                part: "headers",
                remove: &remove.headers,
                rename: &rename.headers,
                replace: &replace.headers,
                add: &add.headers,
                append: &append.headers,
            }),
            body: steps(Lists {
                part: "body",
                remove: &remove.body,
                rename: &rename.body,
                replace: &replace.body,
                add: &add.body,
                append: &append.body,
            }),
            query: steps(Lists {
                part: "querystring",
                remove: &remove.querystring,
                rename: &rename.querystring,
                replace: &replace.querystring,
                add: &add.querystring,
                append: &append.querystring,
            }),
        };
        if violations.is_empty() { Ok(made) } else { Err(violations) }
    }
}

impl Handler for RequestTransformer {
    fn needs(&self) -> Needs {
        let mut needs = Needs::NOTHING;
        if !self.body.is_empty() || self.method.as_ref().is_some_and(has_no_body) {
            needs = needs.and(Needs::BODY);
        }
        let rendered = self.path.as_ref().is_some_and(|path| path.fixed().is_none())
            || [&self.headers, &self.body, &self.query].iter().any(|steps| steps.has_templates());
        if rendered { needs.and(Needs::CAPTURES) } else { needs }
    }

    fn access<'a>(&'a self, request: &'a mut Request<'_>) -> Flow<'a> {
        match self.transform(request) {
            Ok(()) => Flow::Continue,
            Err(why) => {
                tracing::error!(
                    request.id = &*request.facts.request_id,
                    why,
                    "request-transformer: {why}"
                );
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                Flow::reply(Reply::message(status, "An unexpected error occurred"))
            }
        }
    }
}

/// Methods whose form becomes part of the query when a request is given one of them.
fn has_no_body(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::TRACE)
}

impl RequestTransformer {
    fn transform(&self, request: &mut Request<'_>) -> Result<(), String> {
        let mut arguments = if self.body.is_empty() { None } else { body::read(request) };
        if !self.body.is_empty() && request.facts.body == RequestBody::TooLarge {
            tracing::warn!(
                request.id = &*request.facts.request_id,
                "request-transformer passes a body as it is: too large"
            );
        }
        let scope = RequestScope { head: request.head, facts: request.facts };
        let path = self.path.as_ref().map(|path| path.render(&scope)).transpose()?;
        let of_headers = self.headers.render(&scope)?;
        let of_body = match &arguments {
            Some(_) => self.body.render(&scope)?,
            None => Vec::new(),
        };
        let of_query = self.query.render(&scope)?;

        if let Some(path) = path {
            let path = String::from_utf8(path).map_err(|_| "the path is no text")?;
            if !path.starts_with('/') {
                return Err("the path must start with /".into());
            }
            request.facts.overrides().path = Some(path);
        }
        if let Some(method) = &self.method {
            change_method(request, method);
        }
        if !of_headers.is_empty() {
            headers::apply(request, of_headers)?;
        }
        if let Some(arguments) = &mut arguments
            && body::apply(arguments, of_body)
        {
            arguments.replace(request);
        }
        if !self.query.is_empty() {
            query::apply(request.head, of_query);
        }
        Ok(())
    }
}

/// A form whose request becomes one without a body is added to the query.
fn change_method(request: &mut Request<'_>, method: &Method) {
    if has_no_body(method)
        && let Some(Arguments::Form(pairs)) = body::read(request)
        && !pairs.is_empty()
    {
        let mut all = query::read(request.head.uri.query().unwrap_or_default());
        for (name, value) in pairs {
            all.entry(name.into_bytes()).or_default().push(Some(value.into_bytes()));
        }
        crate::kit::query::set(request.head, &query::written(&all));
    }
    request.head.set_method(method.clone());
}
