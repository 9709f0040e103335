//! [`Filter`]: the query of both lists of services.

use super::super::asked::{Asked, Parameter, Query};
use super::super::refusal::Refusal;
use super::body::LOCALITIES;
use crate::entities::ServiceInstance;

/// The query of both lists of services: what is given must hold.
pub(super) struct Filter {
    query: Query,
    consumed_local_only: Option<bool>,
    is_local: Option<bool>,
}

const KNOWN: [Parameter; 6] = [
    Parameter::List("ser_instance_id"),
    Parameter::List("ser_name"),
    Parameter::Single("ser_category_id"),
    Parameter::Single("consumed_local_only"),
    Parameter::Single("is_local"),
    Parameter::Single("scope_of_locality"),
];

impl Filter {
    pub(super) fn read(asked: &Asked) -> Result<Self, Refusal> {
        let query = asked.query(&KNOWN)?;
        let exclusive = ["ser_instance_id", "ser_name", "ser_category_id"];
        let given = exclusive.iter().filter(|name| query.list(name).is_some());
        if given.count() > 1 {
            let detail = "ser_instance_id, ser_name and ser_category_id exclude each other";
            return Err(Refusal::bad(detail));
        }
        let locality = query.single("scope_of_locality");
        if locality.is_some_and(|locality| !LOCALITIES.contains(&locality)) {
            return Err(Refusal::bad("scope_of_locality is not one of its values"));
        }
        let consumed_local_only = query.boolean("consumed_local_only")?;
        let is_local = query.boolean("is_local")?;
        Ok(Self { query, consumed_local_only, is_local })
    }

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
