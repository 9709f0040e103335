//! [`Filter`]: the query of a discovery.

use std::borrow::Cow;

use crate::entities::ServiceInstance;

/// The query of a discovery. Of a parameter given twice the first counts, but for the standard's
/// list of ids; an empty one is not given; unknown ones mean nothing, path parameters in the query
/// among them.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub(crate) name: Option<String>,
    /// A rule on the version the original's registry kept, which is the same for all.
    pub(super) version: Option<String>,
    pub(super) instance_id: Option<String>,
    /// Ids as the standard asks for them: one of these. The original did not know the parameter.
    instance_ids: Vec<String>,
    category_id: Option<String>,
    scope: Option<String>,
    consumed_local_only: Option<String>,
    is_local: Option<String>,
    /// Parameters of the original's registry that no service ever matches.
    pub(super) internal: bool,
}

impl Filter {
    pub(crate) fn parse(query: &str) -> Self {
        let mut filter = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let place = match &*name {
                "ser_name" => &mut filter.name,
                "version" => &mut filter.version,
                "instance_id" => &mut filter.instance_id,
                "ser_category_id" => &mut filter.category_id,
                "scope_of_locality" => &mut filter.scope,
                "consumed_local_only" => &mut filter.consumed_local_only,
                "is_local" => &mut filter.is_local,
                "ser_instance_id" => {
                    let given = value.split(',').filter(|id| !id.is_empty());
                    filter.instance_ids.extend(given.map(str::to_owned));
                    continue;
                }
                "env" | "tags" => {
                    filter.internal |= !value.is_empty();
                    continue;
                }
                _ => continue,
            };
            if place.is_none() && !value.is_empty() {
                *place = Some(value.into_owned());
            }
        }
        filter
    }

    /// Whether a service is what ids, category, locality and flags ask for.
    ///
    /// All that are given must hold. `strict` has it as the original: any may hold, and one that is
    /// not given holds for services that leave it empty.
    pub(crate) fn matches(&self, instance: &ServiceInstance, strict: bool) -> bool {
        let info = &instance.info;
        if !self.instance_ids.is_empty() && !self.instance_ids.contains(&instance.service_id()) {
            return false;
        }
        let flag = |flag: bool| Cow::from(if flag { "true" } else { "false" });
        let pairs = [
            (&self.category_id, Cow::from(&info.ser_category.id)),
            (&self.scope, Cow::from(&info.scope_of_locality)),
            (&self.consumed_local_only, flag(info.consumed_local_only)),
            (&self.is_local, flag(info.is_local)),
        ];
        let same = |given: &Option<String>, has: &str| {
            given.as_deref().unwrap_or_default().eq_ignore_ascii_case(has)
        };
        if pairs.iter().all(|(given, _)| given.is_none()) {
            return true;
        }
        if strict && self.name.is_none() {
            return pairs.iter().any(|(given, has)| same(given, has));
        }
        pairs.iter().all(|(given, has)| given.is_none() || same(given, has))
    }
}

/// What a version rule says about 1.0.0, the version the original's registry gave to everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VersionRule {
    /// It is meant.
    Matches,
    /// It is outside a range.
    Outside,
    /// Exactly another version is meant, which nobody has.
    Other,
}

impl VersionRule {
    /// `latest`, `x[.y[.z]]`, `…+` or `a-b` (without `b` itself); `None` for anything else.
    pub(super) fn parse(rule: &str) -> Option<Self> {
        const ONLY: [u16; 3] = [1, 0, 0];
        let within = |holds: bool| if holds { Self::Matches } else { Self::Outside };
        if rule == "latest" {
            return Some(Self::Matches);
        }
        if let Some(from) = rule.strip_suffix('+') {
            return Some(within(version(from)? <= ONLY));
        }
        if let Some((from, to)) = rule.split_once('-') {
            return Some(within(version(from)? <= ONLY && ONLY < version(to)?));
        }
        Some(if version(rule)? == ONLY { Self::Matches } else { Self::Other })
    }
}

fn version(text: &str) -> Option<[u16; 3]> {
    let mut parts = [0; 3];
    for (at, part) in text.split('.').enumerate() {
        let digits = part.bytes().all(|byte| byte.is_ascii_digit());
        *parts.get_mut(at)? =
            part.parse().ok().filter(|number| digits && *number <= i16::MAX.unsigned_abs())?;
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_kit;

    #[test]
    fn version_rules_are_about_one_version() {
        use VersionRule::{Matches, Other, Outside};
        for (rule, wanted) in [
            ("latest", Some(Matches)),
            ("1.0.0", Some(Matches)),
            ("1", Some(Matches)),
            ("0.0.0+", Some(Matches)),
            ("1.0.1+", Some(Outside)),
            ("0.0.0-2.0.0", Some(Matches)),
            ("0.0.0-1.0.0", Some(Outside)),
            ("2.0.0", Some(Other)),
            ("v1", None),
            ("1.0.0.0", None),
            ("1..0", None),
            ("+1", None),
            ("32768", None),
            ("1-", None),
        ] {
            assert_eq!(VersionRule::parse(rule), wanted, "{rule:?}");
        }
    }

    #[test]
    fn given_parameters_must_all_hold() {
        let mut whole = test_kit::instance("a");
        whole.info.ser_category.id = "id1".to_owned();
        let mut bare = test_kit::instance("b");
        bare.info.is_local = false;
        let by_id = format!("ser_instance_id=x,{}&ser_instance_id=y", whole.service_id());
        for (query, found, found_bare, strict, strict_bare) in [
            ("", true, true, true, true),
            ("x=1&:appInstanceId=y", true, true, true, true),
            ("ser_category_id=ID1", true, false, true, false),
            ("ser_category_id=id1&is_local=false", false, false, true, true),
            ("scope_of_locality=mec_host&consumed_local_only=TRUE", true, true, true, true),
            // A service without a category has the one that is not asked for.
            ("scope_of_locality=ZONE", false, false, false, true),
            ("is_local=&ser_category_id=id2", false, false, false, false),
            (by_id.as_str(), true, false, true, false),
            ("ser_instance_id=x", false, false, false, false),
            ("ser_instance_id=,", true, true, true, true),
        ] {
            let filter = Filter::parse(query);
            let matches = |instance, strict| filter.matches(instance, strict);
            assert_eq!(
                (
                    matches(&whole, false),
                    matches(&bare, false),
                    matches(&whole, true),
                    matches(&bare, true)
                ),
                (found, found_bare, strict, strict_bare),
                "{query}"
            );
        }
    }
}
