//! [`Filter`]: the query of both lists of services.

use super::super::asked::{Asked, Queried};
use super::super::parameter::{Parameter, Query};
use super::super::refusal::Refusal;
use crate::entities::{LOCALITIES, ServiceInstance};

/// The query of both lists of services: what is given must hold.
pub(super) struct Filter {
    query: Query,
    consumed_local_only: Option<bool>,
    is_local: Option<bool>,
}

/// What both lists can be asked for; those that exclude each other come first.
pub(super) const KNOWN: [Parameter; 6] = [
    Parameter::list("ser_instance_id", "Any of these ids. Excludes the two others."),
    Parameter::list("ser_name", "Any of these names. Excludes the two others."),
    Parameter::single("ser_category_id", "Of this category. Excludes the two others."),
    Parameter::flag("consumed_local_only", "Whether only local consumers may use it."),
    Parameter::flag("is_local", "Whether it is local to who asks."),
    Parameter::one_of("scope_of_locality", LOCALITIES, "How far it can be used."),
];

impl Queried for Filter {
    fn read(asked: &Asked) -> Result<Self, Refusal> {
        let query = asked.query(&KNOWN)?;
        let exclusive = ["ser_instance_id", "ser_name", "ser_category_id"];
        let given = exclusive.iter().filter(|name| query.list(name).is_some());
        if given.count() > 1 {
            let detail = "ser_instance_id, ser_name and ser_category_id exclude each other";
            return Err(Refusal::bad(detail));
        }
        let consumed_local_only = query.boolean("consumed_local_only");
        let is_local = query.boolean("is_local");
        Ok(Self { query, consumed_local_only, is_local })
    }
}

impl Filter {
    /// Every service of this platform is local to who asks it.
    pub(super) fn matches(&self, instance: &ServiceInstance) -> bool {
        let info = &instance.info;
        let among = |name: &str, value: &str| {
            self.query.list(name).is_none_or(|given| given.iter().any(|one| one == value))
        };
        among("ser_instance_id", &instance.service_id())
            && among("ser_name", &info.ser_name)
            && among("ser_category_id", &info.ser_category.id)
            && among("scope_of_locality", &info.scope_of_locality)
            && self.consumed_local_only.is_none_or(|wanted| wanted == info.consumed_local_only)
            && self.is_local.is_none_or(|wanted| wanted)
    }
}
