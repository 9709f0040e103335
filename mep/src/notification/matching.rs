//! Whether a subscription is about a service.

use super::message::Event;
use crate::entities::{Criteria, ServiceInfo, ServiceInstance, Subscription, service_id};
use crate::face::Face;

/// Whether a service is what a subscription asks for: every criterion that is given holds, a list by
/// any of its members (ETSI GS MEC 011, clause 8.1.3.2). Ids, names and categories are one criterion:
/// the standard takes one of the three, and the dialect's clients have always had any of them for
/// enough (MEC 011 contract 10.2).
///
/// The original did not look at `isLocal`, and never notified who asked by state alone.
pub(super) fn matches(criteria: &Criteria, instance: &ServiceInstance, face: Face) -> bool {
    let info = &instance.info;
    let id = any_of(&criteria.ser_instance_ids, |id| *id == service_id(instance.id));
    let name = any_of(&criteria.ser_names, |name| *name == info.ser_name);
    let category = any_of(&criteria.ser_categories, |category| *category == info.ser_category);
    let mut meant = [id, name, category].into_iter().flatten().peekable();
    (meant.peek().is_none() || meant.any(|meant| meant))
        && any_of(&criteria.states, |state| state == instance.state.as_str()).unwrap_or(true)
        && criteria.is_local.is_none_or(|wanted| wanted == is_local(info, face))
}

/// Whether a service is local to a subscriber. To the standard every service of this platform is;
/// the dialect believes what the app said.
const fn is_local(info: &ServiceInfo, face: Face) -> bool {
    match face {
        Face::Standard => true,
        Face::Dialect => info.is_local,
    }
}

/// Whether a subscription is about an event.
pub(super) fn wants(subscription: &Subscription, event: &Event) -> bool {
    let instance = &event.instance;
    if let Some(events) = &subscription.events {
        let among =
            |list: &[String], text: &str| list.is_empty() || list.iter().any(|one| one == text);
        return events.events.iter().any(|wanted| wanted == event.capif())
            && among(&events.api_ids, &instance.service_id())
            && among(&events.aef_ids, &instance.info.transport_info.id);
    }
    let criteria = subscription.criteria.as_ref();
    criteria.is_some_and(|criteria| matches(criteria, instance, subscription.face))
}

/// Whether one of a list's members holds; `None` when the list asks for nothing.
fn any_of<T>(list: &Option<Vec<T>>, holds: impl Fn(&T) -> bool) -> Option<bool> {
    let list = list.as_deref().filter(|list| !list.is_empty())?;
    Some(list.iter().any(holds))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::OnceLock;

    use gateway_model::{Id, Ref};

    use super::*;
    use crate::entities::{Category, State};

    #[test]
    fn given_criteria_must_all_hold() {
        let category = Category { id: "c".to_owned(), ..Category::default() };
        let info = ServiceInfo {
            ser_name: "x".to_owned(),
            ser_category: category,
            is_local: false,
            ..ServiceInfo::default()
        };
        let instance = ServiceInstance {
            id: Id::from_bytes([1; 16]),
            app: Ref::new(Id::random()),
            service_name: Ref::new(Id::random()),
            info,
            state: State::Suspended,
            publications: Vec::new(),
            renewed_at_ms: 0,
            shown: OnceLock::new(),
            shown_by_standard: OnceLock::new(),
        };
        for (criteria, wanted) in [
            ("{}", true),
            (r#"{"serNames":[]}"#, true),
            (r#"{"serNames":["other"]}"#, false),
            (r#"{"serNames":["other","x"]}"#, true),
            (r#"{"states":["SUSPENDED"]}"#, true),
            (r#"{"states":["ACTIVE"]}"#, false),
            (r#"{"serNames":["x"],"states":["ACTIVE"]}"#, false),
            (r#"{"serNames":["x"],"serInstanceIds":["01010101010101010101010101010101"]}"#, true),
            (r#"{"serNames":["x"],"serInstanceIds":["02"]}"#, true),
            (r#"{"serNames":["y"],"serInstanceIds":["02"]}"#, false),
            (r#"{"serNames":["x"],"serInstanceIds":["02"],"states":["ACTIVE"]}"#, false),
            (
                r#"{"serNames":["y"],"serCategories":[{"href":"","id":"c","name":"","version":""}]}"#,
                true,
            ),
            (r#"{"serCategories":[{"href":"","id":"c","name":"","version":""}]}"#, true),
            (r#"{"serCategories":[{"href":"","id":"c","name":"n","version":""}]}"#, false),
            (r#"{"isLocal":true}"#, false),
            (r#"{"isLocal":false}"#, true),
        ] {
            let criteria_read: Criteria = serde_json::from_str(criteria).unwrap();
            let found = matches(&criteria_read, &instance, Face::Dialect);
            assert_eq!(found, wanted, "{criteria}");
        }
        for (criteria, wanted) in [(r#"{"isLocal":true}"#, true), (r#"{"isLocal":false}"#, false)] {
            let criteria: Criteria = serde_json::from_str(criteria).unwrap();
            assert_eq!(matches(&criteria, &instance, Face::Standard), wanted);
        }
    }
}
