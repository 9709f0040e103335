use std::collections::HashSet;

use gateway_model::{EntityType, Item, Scopes, Violations};
use http::{HeaderValue, StatusCode};

use super::config::Config;
use super::group::{ACLS, AclGroup};
use crate::contract::{AuthenticatedGroups, Flow, Handler, Phases, Plugin, Reply, Request, Setup};
use crate::kit::auth::UNAUTHORIZED;

/// One instance (kong/plugins/acl/handler.lua).
pub(crate) struct Acl {
    groups: HashSet<String>,
    /// What membership in one of `groups` means.
    lets_in: bool,
    hide_groups_header: bool,
    always_use_authenticated_groups: bool,
}

impl Plugin for Acl {
    const NAME: &'static str = "acl";
    const PRIORITY: i32 = 950;
    const PHASES: Phases = Phases::ACCESS;
    const SCOPES: Scopes = Scopes::NO_CONSUMER;
    const ENTITIES: &'static [&'static EntityType] = &[&ACLS];
    type Config = Config;

    fn build(config: Config, _: &Setup<'_>) -> Result<Self, Violations> {
        let lets_in = config.allow.is_some();
        Ok(Self {
            groups: config.allow.or(config.deny).unwrap_or_default().into_iter().collect(),
            lets_in,
            hide_groups_header: config.hide_groups_header,
            always_use_authenticated_groups: config.always_use_authenticated_groups,
        })
    }
}

// In the case HTTP/1 upstreams see.
const CONSUMER_GROUPS: &str = "X-Consumer-Groups";
const AUTHENTICATED_GROUPS: &str = "X-Authenticated-Groups";

impl Handler for Acl {
    fn access<'a>(&'a self, request: &'a mut Request<'_>) -> Flow<'a> {
        // Kong lets a client's own spelling pass where it sets none.
        request.head.remove_header(CONSUMER_GROUPS);
        request.head.remove_header(AUTHENTICATED_GROUPS);
        let (header, groups) = self.groups_of(request);
        let known = request.facts.identity.credential.is_some();
        let judged = match groups {
            Some(groups) => groups,
            None if self.lets_in && known => return refuse(),
            None if self.lets_in || request.facts.identity.consumer.is_none() && !known => {
                return Flow::reply(Reply::message(StatusCode::UNAUTHORIZED, UNAUTHORIZED));
            }
            None if request.facts.identity.consumer.is_none() => return refuse(),
            None => Vec::new(),
        };
        if judged.iter().any(|group| self.groups.contains(group)) != self.lets_in {
            return refuse();
        }
        if !self.hide_groups_header
            && !judged.is_empty()
            && let Ok(value) = HeaderValue::from_bytes(judged.join(", ").as_bytes())
        {
            // A valid name and value are always taken.
            let _ = request.head.insert_header(header, value);
        }
        Flow::Continue
    }
}

impl Acl {
    /// The groups that count, by name, and the header that tells them; `None` when there are none.
    fn groups_of(&self, request: &Request<'_>) -> (&'static str, Option<Vec<String>>) {
        let facts = &request.facts;
        let found = || facts.notes.get::<AuthenticatedGroups>().map(|groups| groups.0.clone());
        let Some(consumer) = &facts.identity.consumer else {
            return (AUTHENTICATED_GROUPS, found());
        };
        // Those found come before the ones of an anonymous consumer.
        let found_count =
            self.always_use_authenticated_groups || facts.identity.credential.is_none();
        if let Some(groups) = found_count.then(found).flatten() {
            return (AUTHENTICATED_GROUPS, Some(groups));
        }
        let name = |group: Item<AclGroup>| group.group.clone();
        let mut groups: Vec<String> =
            facts.catalog.children::<AclGroup>("consumer", consumer.id()).map(name).collect();
        groups.sort_unstable();
        (CONSUMER_GROUPS, (!groups.is_empty()).then_some(groups))
    }
}

fn refuse<'a>() -> Flow<'a> {
    Flow::reply(Reply::message(StatusCode::FORBIDDEN, "You cannot consume this service"))
}
