#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};

use crate::test_kit::rig;

fn check(config: &Value, agents: &[(&str, bool)]) {
    let mut rig = rig();
    let plugin = rig.plugin("bot-detection", config.clone());
    for (agent, passes) in agents {
        // The second time the verdict is remembered.
        for _ in 0..2 {
            let answer = rig.get("/").header("User-Agent", agent).access(&plugin);
            assert_eq!(answer.is_none(), *passes, "{agent} with {config}");
            if let Some(answer) = answer {
                assert_eq!((answer.status, &answer.body), (403, &json!({"message": "Forbidden"})));
            }
        }
    }
}

#[test]
fn robots_are_refused_and_browsers_are_not() {
    check(
        &json!({}),
        &[
            ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", true),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like \
                 Gecko) Version/18.0 Safari/605.1.15",
                true,
            ),
            ("Mozilla/5.0 (Linux; Android 9; CUBOT_X19) AppleWebKit/537.36", true),
            ("curl/8.5.0", true),
            ("", true),
            ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", false),
            ("Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", false),
            ("facebookexternalhit/1.1", false),
            ("  Twitterbot/1.0 ", false),
            ("Python-urllib/3.12", false),
            ("Go-http-client/1.1", false),
            ("okhttp/4.12.0", false),
            ("axios/1.7.2", false),
            ("Scrapy/2.11 (+https://scrapy.org)", false),
            ("my-own-crawler/1.0", false),
            ("Mozilla/4.0 (compatible; MSIE 5.0; Windows 95; MSIECrawler)", false),
            (&format!("{} Googlebot/2.1", "x".repeat(2000)), false),
            (&"x".repeat(2000), true),
        ],
    );
}

#[test]
fn lists_of_the_configuration() {
    let config = json!({"allow": ["^my-.*bot", "Googlebot"], "deny": ["evil", "Mozilla"]});
    check(
        &config,
        &[
            ("my-evil-bot/1.0", true),
            ("Mozilla/5.0 (compatible; Googlebot/2.1)", true),
            ("evil/1", false),
            ("Mozilla/5.0", false),
            ("bingbot/2.0", false),
            ("curl/8", true),
        ],
    );
    let old = json!({"whitelist": ["Googlebot"], "blacklist": ["curl"]});
    check(&old, &[("Googlebot/2.1", true), ("curl/8", false)]);
    let refused = rig().try_plugin("bot-detection", json!({"allow": ["ok", "["]})).err().unwrap();
    assert!(refused.contains("not a valid regex: ["), "{refused}");
}

#[test]
fn requests_without_one_user_agent() {
    let mut rig = rig();
    let plugin = rig.plugin("bot-detection", json!({}));
    assert_eq!(rig.get("/").access(&plugin), None);
    let two = rig.get("/").header("User-Agent", "a").header("User-Agent", "b").access(&plugin);
    let two = two.unwrap();
    assert_eq!(two.status, 400);
    assert_eq!(two.body, json!({"message": "Only one User-Agent header allowed"}));
}
