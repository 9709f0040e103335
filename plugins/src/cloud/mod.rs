//! Plugins that hand requests to services of cloud providers, as far as this gateway has them: their
//! configuration is known, checked and kept, so that files and scripts made for Kong go through
//! unchanged. A request that meets one is refused with a text that says what would be needed;
//! letting it through would be worse, since the plugin was to decide what becomes of it.

mod ai;
mod aws_lambda;
mod azure_functions;

use std::marker::PhantomData;

use gateway_model::schema::Schema;
use gateway_model::{Scopes, Violations};
use http::StatusCode;
use serde::de::DeserializeOwned;

pub(crate) use ai::prompt::{Decorator, Guard, Template};
pub(crate) use ai::proxy::Proxy;
pub(crate) use ai::transformer::{RequestTransformer, ResponseTransformer};
pub(crate) use aws_lambda::AwsLambda;
pub(crate) use azure_functions::AzureFunctions;

use crate::contract::{Flow, HTTP, Handler, Phases, Plugin, Reply, Request, Setup};

/// A plugin whose configuration is known and that does nothing else.
pub(crate) trait Known: Send + Sync + 'static {
    const NAME: &'static str;
    const PRIORITY: i32;
    const SCOPES: Scopes = Scopes::ALL;
    const PROTOCOLS: &'static [&'static str] = HTTP;
    /// What would be needed, after "it would have to".
    const MISSING: &'static str;
    type Config: Schema + DeserializeOwned;
}

/// One instance of such a plugin.
pub(crate) struct Refusing<K>(PhantomData<fn() -> K>);

impl<K: Known> Plugin for Refusing<K> {
    const NAME: &'static str = K::NAME;
    const PRIORITY: i32 = K::PRIORITY;
    const PHASES: Phases = Phases::ACCESS;
    const SCOPES: Scopes = K::SCOPES;
    const PROTOCOLS: &'static [&'static str] = K::PROTOCOLS;
    type Config = K::Config;

    fn build(_: K::Config, setup: &Setup<'_>) -> Result<Self, Violations> {
        let id = setup.instance.id();
        tracing::warn!(plugin = K::NAME, %id, "{}; its requests are refused", text::<K>());
        Ok(Self(PhantomData))
    }
}

impl<K: Known> Handler for Refusing<K> {
    fn access<'a>(&'a self, _: &'a mut Request<'_>) -> Flow<'a> {
        Flow::reply(Reply::message(StatusCode::NOT_IMPLEMENTED, text::<K>()))
    }
}

fn text<K: Known>() -> String {
    format!(
        "The plugin {} is not carried out by this gateway: it would have to {}",
        K::NAME,
        K::MISSING
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::test_kit::rig;

    #[test]
    fn requests_are_refused_and_told_why() {
        let model = json!({"provider": "openai", "name": "m"});
        let llm = json!({"route_type": "llm/v1/chat", "model": model});
        for (name, config, needed) in [
            ("aws-lambda", json!({"function_name": "f"}), "AWS Lambda"),
            ("azure-functions", json!({"appname": "a", "functionname": "f"}), "Azure"),
            ("ai-proxy", llm.clone(), "language model"),
            (
                "ai-request-transformer",
                json!({"prompt": "p", "llm": llm.clone()}),
                "language model",
            ),
            ("ai-response-transformer", json!({"prompt": "p", "llm": llm}), "language model"),
            ("ai-prompt-template", json!({"templates": []}), "prompts"),
            ("ai-prompt-decorator", json!({"prompts": {"append": [{"content": "x"}]}}), "prompts"),
            ("ai-prompt-guard", json!({"deny_patterns": ["x"]}), "prompts"),
        ] {
            let mut rig = rig();
            let plugin = rig.plugin(name, config);
            let answer = rig.get("/").access(&plugin).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(answer.status, 501);
            let text = answer.body["message"].as_str().unwrap_or_default();
            assert!(text.contains(name) && text.contains(needed), "{text}");
        }
    }

    #[test]
    fn configurations_are_checked_all_the_same() {
        let check = |name: &str, config: Value, wanted: &str| {
            let refused = rig().try_plugin(name, config).err().unwrap_or_default();
            assert!(refused.contains(wanted), "{name}: {refused}");
        };
        check("aws-lambda", json!({"aws_key": "k"}), "all or none of these fields must be set");
        check(
            "aws-lambda",
            json!({"proxy_url": "https://p.test"}),
            "proxy_url scheme must be http",
        );
        check("aws-lambda", json!({"aws_region": "a b"}), "invalid value: a b");
        check("azure-functions", json!({"appname": "a"}), "functionname: required field missing");
        let llm = |provider: &str, more: Value| {
            let mut model = json!({"provider": provider, "name": "m", "options": {}});
            model["options"] = more;
            json!({"route_type": "llm/v1/chat", "model": model})
        };
        check("ai-proxy", llm("nope", json!({})), "expected one of: openai");
        check(
            "ai-proxy",
            llm("llama2", json!({"upstream_url": "http://l.test"})),
            "must set 'model.options.llama2_format' for llama2 provider",
        );
        check("ai-proxy", llm("openai", json!({"temperature": 6})), "between 0 and 5");
        let mut chat = llm("openai", json!({}));
        chat["route_type"] = "llm/v1/completions".into();
        check(
            "ai-request-transformer",
            json!({"prompt": "p", "llm": chat}),
            "'config.llm.route_type' must be 'llm/v1/chat' for AI transformer plugins",
        );
        check("ai-prompt-decorator", json!({}), "at least one of these fields must be non-empty");
        check("ai-prompt-guard", json!({}), "at least one of these fields must be non-empty");
    }
}
