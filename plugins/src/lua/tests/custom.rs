//! Plugins that are files.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::Settings;
use super::{Rig, rig_with};
use crate::contract::{Credential, Phases};
use crate::kit::jws::Algorithm;
use crate::test_kit::Signer;

/// The original of EdgeGallery in Lua, by its contract (section 2.2): of the first Authorization
/// header, `clientip` compared to the peer as text, `X-AppinstanceID` set from `sub`.
const APPID_HANDLER: &str = include_str!("appid/handler.lua");
const APPID_SCHEMA: &str = include_str!("appid/schema.lua");

fn plugin_files(name: &str, handler: &str, schema: &str) -> (TempDir, Settings) {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("kong/plugins").join(name);
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join("handler.lua"), handler).unwrap();
    std::fs::write(place.join("schema.lua"), schema).unwrap();
    let settings = settings(folder.path());
    (folder, settings)
}

fn settings(folder: &Path) -> Settings {
    let package_path = format!("{0}/?.lua;{0}/?/init.lua", folder.display());
    Settings { package_path, ..Settings::default() }
}

fn rig_of(handler: &str, schema: &str) -> (TempDir, Rig) {
    let (folder, settings) = plugin_files("mine", handler, schema);
    let rig = rig_with(settings, &["mine"]).unwrap();
    (folder, rig)
}

const SCHEMA: &str = r#"
    local typedefs = require "kong.db.schema.typedefs"
    return {
      name = "mine",
      fields = {
        { consumer = typedefs.no_consumer },
        { protocols = typedefs.protocols_http },
        { config = {
            type = "record",
            fields = {
              { word = { type = "string", required = true, default = "hello", match = "^%l+$" } },
              { count = { type = "integer", between = { 1, 5 }, default = 2 } },
              { mode = { type = "string", one_of = { "a", "b" } } },
              { where = typedefs.url },
              { port = typedefs.port { default = 80 } },
              { names = { type = "array", elements = { type = "string", len_min = 2 }, default = {} } },
              { even = { type = "number", custom_validator = function(value)
                  if value % 2 == 0 then return true end
                  return nil, "must be even"
                end } },
              { deep = { type = "record", required = true, fields = {
                  { flag = { type = "boolean", default = true } },
                } } },
            },
          },
        },
      },
      entity_checks = {
        { only_one_of = { "config.mode", "config.where" } },
        { custom_entity_check = {
            field_sources = { "config.count" },
            fn = function(entity)
              if entity.config.count == 4 then return nil, "four is refused" end
              return true
            end,
          } },
      },
    }
"#;

const HANDLER: &str = r#"
    local Mine = { PRIORITY = 777, VERSION = "1.2.3" }
    function Mine:access(conf)
      kong.ctx.plugin.word = conf.word
      kong.service.request.set_header("X-Mine", conf.word .. conf.count .. tostring(conf.where))
      if conf.mode == "b" then
        return kong.response.exit(403, { refused = conf.deep.flag })
      end
    end
    function Mine:header_filter(conf)
      kong.response.set_header("X-Word", kong.ctx.plugin.word)
    end
    return Mine
"#;

#[test]
fn a_schema_checks_and_completes() {
    let (_folder, mut rig) = rig_of(HANDLER, SCHEMA);
    let refused = |rig: &mut Rig, config: Value| rig.try_plugin("mine", config).err();
    let told = |text: &str| Some(text.to_owned());
    let word = refused(&mut rig, json!({"mode": "a", "word": "UP"}));
    assert_eq!(word, told("schema violation (config.word: invalid value: UP)"));
    let count = refused(&mut rig, json!({"mode": "a", "count": 9}));
    assert_eq!(count, told("schema violation (config.count: value should be between 1 and 5)"));
    let odd = refused(&mut rig, json!({"mode": "a", "even": 3}));
    assert_eq!(odd, told("schema violation (config.even: must be even)"));
    let both = refused(&mut rig, json!({"mode": "a", "where": "http://x.test/"})).unwrap();
    assert!(
        both.contains(
            "exactly one of these fields must be non-empty: 'config.mode', 'config.where'"
        ),
        "{both}"
    );
    let four = refused(&mut rig, json!({"mode": "a", "count": 4}));
    assert_eq!(four, told("schema violation (four is refused)"));
    let unknown = refused(&mut rig, json!({"mode": "a", "more": 1}));
    assert_eq!(unknown, told("schema violation (config.more: unknown field)"));
    let url = refused(&mut rig, json!({"where": "nowhere"})).unwrap();
    assert!(url.contains("config.where"), "{url}");
    let consumer = rig.insert("consumers", json!({"username": "c"})).id();
    let scoped = json!({"name": "mine", "consumer": {"id": consumer}, "config": {"mode": "a"}});
    let scoped = rig.try_instance(scoped).err();
    assert_eq!(scoped, told("schema violation (consumer: value must be null)"));

    let plugin = rig.plugin("mine", json!({"mode": "a"}));
    let stored = rig.catalog.collection("plugins").unwrap().get(plugin.id).unwrap();
    assert_eq!(
        stored.document()["config"],
        json!({
            "word": "hello", "count": 2, "mode": "a", "where": null, "port": 80, "names": [],
            "even": null, "deep": {"flag": true},
        })
    );
    assert_eq!(stored.document()["protocols"], json!(["grpc", "grpcs", "http", "https"]));
    let schema = plugin.plugin.schema();
    assert_eq!((schema.priority, schema.version), (777, "1.2.3"));
    let described = schema.record.describe();
    assert_eq!(described["fields"][0]["word"]["match"], "^%l+$");
    assert_eq!(described["fields"][1]["count"]["between"], json!([1, 5]));
}

#[test]
fn a_handler_runs_with_its_configuration() {
    let (_folder, mut rig) = rig_of(HANDLER, SCHEMA);
    let plugin = rig.plugin("mine", json!({"mode": "a", "word": "hi"}));
    let phases = Phases::ACCESS.and(Phases::HEADER_FILTER);
    assert!(plugin.handler.phases().has(phases) && !plugin.handler.phases().has(Phases::LOG));
    let mut exchange = rig.get("/");
    assert_eq!(exchange.access(&plugin), None);
    assert_eq!(exchange.sent("x-mine"), ["hi2nil"]);
    let head = pingora_http::ResponseHeader::build(200, None).unwrap();
    let (head, _) = exchange.respond(&plugin, head, &["x"]);
    assert_eq!(head.headers["x-word"], "hi");
    rig.patch("plugins", plugin.id, json!({"config": {"mode": "b"}}));
    let stored = rig.catalog.collection("plugins").unwrap().get(plugin.id).unwrap().clone();
    let answer = rig.get("/").access(&rig.compile(&stored).unwrap()).unwrap();
    assert_eq!((answer.status, answer.body), (403, json!({"refused": true})));
}

#[test]
fn plugins_that_cannot_be_used_are_told() {
    let fails = |handler: &str, schema: &str| {
        let (_folder, settings) = plugin_files("mine", handler, schema);
        rig_with(settings, &["mine"]).err().unwrap()
    };
    assert!(fails("return {", SCHEMA).contains("plugins: mine: "), "unreadable");
    assert!(fails("return 5", SCHEMA).contains("handler.lua gives no table"));
    assert!(fails(HANDLER, "return { name = 'mine', fields = {} }").contains("no field 'config'"));
    assert!(fails("while true do end", SCHEMA).contains("mep_lua_time"));
    assert!(
        fails(HANDLER, &SCHEMA.replace("\"integer\"", "\"whole\""))
            .contains("'whole' is not known")
    );
    let response = HANDLER.replace("function Mine:access", "function Mine:response");
    let both = "cannot implement both 'response' and 'header_filter' or 'body_filter' methods";
    assert!(fails(&response, SCHEMA).contains(both));
    let missing = rig_with(Settings::default(), &["nobodys"]).err().unwrap();
    assert_eq!(missing, "plugins: nobodys plugin is enabled but not installed");
}

/// Beside the native plugin, the same requests get the same replies, except where the contract
/// wants the native one to be better than the original (section 2.4).
#[test]
fn the_original_appid_header_in_lua_beside_the_native_one() {
    let (_folder, settings) = plugin_files("appid-lua", APPID_HANDLER, APPID_SCHEMA);
    let mut rig = rig_with(settings, &["appid-lua"]).unwrap();
    let consumer = rig.insert("consumers", json!({"username": "mepauth.jwt"})).id();
    let secret = json!({"consumer": {"id": consumer}, "key": "mepauth", "secret": "s"});
    rig.insert("jwt_secrets", secret);
    let jwt = rig.plugin("jwt", json!({}));
    let native = rig.plugin("appid-header", json!({}));
    let lua = rig.plugin("appid-lua", json!({}));
    assert_eq!(lua.plugin.priority, native.plugin.priority);
    let token = |claims: Value| Signer::new(Algorithm::HS256, "s").token(Algorithm::HS256, &claims);
    let claims = |sub: &str, ip: &str| json!({"iss": "mepauth", "sub": sub, "clientip": ip});
    let rows = [
        (claims("app-1", "127.0.0.1"), "127.0.0.1", true),
        (claims("app-2", "10.1.2.3"), "10.1.2.3", true),
        (claims("app-1", "127.0.0.1"), "10.0.0.1", false),
        (claims("app-1", "UNKNOWN_IP"), "127.0.0.1", false),
        (claims("app-1", "127.0.0.1 "), "127.0.0.1", false),
        (json!({"iss": "mepauth", "sub": "app-1"}), "127.0.0.1", false),
        (json!({"iss": "mepauth", "sub": "app-1", "clientip": 7}), "127.0.0.1", false),
    ];
    for (claims, ip, let_in) in rows {
        let run = |plugin| {
            let mut exchange = rig
                .get("/")
                .from(ip)
                .bearer(&token(claims.clone()))
                .header("X-AppinstanceID", "spoof")
                .header("x-appinstanceid", "again");
            exchange.facts.client.peer.set_ip(ip.parse().unwrap());
            let answer = exchange.access(&jwt).or_else(|| exchange.access(plugin));
            let answer = answer.map(|answer| (answer.status, answer.body));
            (answer, exchange.sent("x-appinstanceid").join(","))
        };
        let (ours, theirs) = (run(&native), run(&lua));
        assert_eq!(ours.0, theirs.0, "{claims} from {ip}");
        assert_eq!(ours.0.is_none(), let_in, "{claims} from {ip}");
        if let_in {
            assert_eq!((ours.1.as_str(), &ours.1), (claims["sub"].as_str().unwrap(), &theirs.1));
        } else {
            assert_eq!(ours.0, Some((401, json!({"message": "Unauthorized"}))), "{claims}");
        }
    }
    // Without a bearer token, jwt answers before either.
    let refused = rig.get("/").access(&jwt).unwrap();
    assert_eq!(refused.status, 401);
}

/// What of the identity is the gateway's stays the gateway's.
#[test]
fn claims_are_not_lost_by_a_lua_plugin_in_between() {
    let (_folder, mut rig) = rig_of(HANDLER, SCHEMA);
    let plugin = rig.plugin("mine", json!({"mode": "a"}));
    let native = rig.plugin("appid-header", json!({}));
    let mut exchange = rig.get("/").from("10.0.0.1");
    let claims = json!({"sub": "app-1", "clientip": "10.0.0.1"});
    exchange.facts.identity.claims = Some(Arc::new(claims.as_object().unwrap().clone()));
    let id = gateway_model::Id::random();
    exchange.facts.identity.credential = Some(Credential { id, identifier: "mepauth".into() });
    assert_eq!(exchange.access(&plugin), None);
    assert_eq!(exchange.access(&native), None);
    assert_eq!(exchange.sent("x-appinstanceid"), ["app-1"]);
}
