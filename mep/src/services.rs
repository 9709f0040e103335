//! Registering, replacing and removing services: what both faces do once they have read a request.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest::{SHA256, digest};
use gateway_model::catalog::Collection;
use gateway_model::{Catalog, Change, Entity as _, Id, Item, Ref};
use url::Url;

use crate::applications;
use crate::auth::credential::random;
use crate::commit::{commit, require, unchanged};
use crate::entities::{
    self, Endpoint, Publication, ServiceInfo, ServiceInstance, ServiceName, State,
};
use crate::etag::{self, IfMatch};
use crate::settings::Published;
use crate::{Platform, exposure};

/// Services one app may have.
pub(crate) const MOST_SERVICES: usize = 50;

/// Why a service stays as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServiceFault {
    /// The app has as many as it may have.
    Full,
    /// The app was told to end.
    Ending,
    /// There is none, or it is another app's.
    Unknown,
    /// Its state is not the one the client asked for.
    Stale,
    /// It is to be suspended, which only the platform does.
    Suspended,
    /// No id could be made.
    NoId,
    /// The catalog refused.
    NotStored,
}

/// A service instance, for its owner only: to others it does not exist.
pub(crate) fn owned(catalog: &Catalog, app: Id, service: Id) -> Option<Item<ServiceInstance>> {
    catalog.get::<ServiceInstance>(service).filter(|instance| instance.app.id == app)
}

/// Registers a service and offers its endpoints by the gateway, both or neither. Endpoints the
/// gateway cannot serve are left out with a line in the log.
pub(crate) async fn register(
    platform: &Platform,
    app: Id,
    info: &ServiceInfo,
) -> Result<ServiceInstance, ServiceFault> {
    let wanted = publishable(platform, info);
    let outcome = commit(&platform.control, |catalog| {
        if applications::is_ending(catalog, app) {
            return Err(ServiceFault::Ending);
        }
        if is_full(catalog, app) {
            return Err(ServiceFault::Full);
        }
        let id = new_id(&info.ser_name)?;
        let (publications, mut changes) = offers(catalog, info, &wanted, &[]);
        changes.push(require(move |catalog| {
            !is_full(catalog, app) && !applications::is_ending(catalog, app)
        }));
        changes.extend(applications::missing(catalog, app));
        changes.extend(missing_name(platform, catalog, &info.ser_name));
        let instance = instance(platform, id, app, info, publications, State::Inactive);
        changes.push(entities::put(id, &instance));
        Ok((changes, instance))
    })
    .await
    .map_err(|refused| refused.or(ServiceFault::NotStored));
    let result = if outcome.is_ok() { "registered" } else { "refused" };
    platform.metrics.registrations.with_label_values(&[result]).inc();
    outcome
}

/// Replaces a service: what the request leaves out is gone. Endpoints that stay keep the name the
/// gateway offers them under, and those the gateway put in place of the app's own are recognised.
pub(crate) async fn replace(
    platform: &Platform,
    app: Id,
    id: Id,
    info: &ServiceInfo,
    if_match: &IfMatch,
) -> Result<ServiceInstance, ServiceFault> {
    change(platform, app, id, if_match, |_| Ok(info.clone())).await
}

/// As [`replace`], by what `wanted` makes of the service that is there.
pub(crate) async fn change<E: From<ServiceFault>>(
    platform: &Platform,
    app: Id,
    id: Id,
    if_match: &IfMatch,
    mut wanted: impl FnMut(&ServiceInstance) -> Result<ServiceInfo, E>,
) -> Result<ServiceInstance, E> {
    commit(&platform.control, |catalog| {
        let present = owned(catalog, app, id).ok_or(ServiceFault::Unknown)?;
        if !if_match.admits(&etag::of_service(&present)) {
            return Err(ServiceFault::Stale.into());
        }
        let mut info = wanted(&present)?;
        let suspended = info.state == State::Suspended.as_str();
        if suspended && present.state != State::Suspended {
            return Err(ServiceFault::Suspended.into());
        }
        recognise(&mut info.transport_info.endpoint, &present, &platform.settings.published);
        let wanted = publishable(platform, &info);
        let (publications, mut changes) = offers(catalog, &info, &wanted, &present.publications);
        changes.push(unchanged(&present));
        changes.extend(missing_name(platform, catalog, &info.ser_name));
        let instance = instance(platform, id, app, &info, publications, present.state);
        changes.push(entities::put(id, &instance));
        Ok((changes, instance))
    })
    .await
    .map_err(|refused| refused.or(ServiceFault::NotStored.into()))
}

/// Removes a service and all the gateway offers of it.
pub(crate) async fn remove(
    platform: &Platform,
    app: Id,
    id: Id,
    if_match: &IfMatch,
) -> Result<(), ServiceFault> {
    commit(&platform.control, |catalog| {
        let present = owned(catalog, app, id).ok_or(ServiceFault::Unknown)?;
        if !if_match.admits(&etag::of_service(&present)) {
            return Err(ServiceFault::Stale);
        }
        let mut changes = vec![unchanged(&present)];
        let offers = present.publications.iter();
        changes.extend(offers.flat_map(|offer| exposure::withdraw(catalog, &offer.name)));
        changes.push(entities::remove::<ServiceInstance>(id));
        Ok((changes, ()))
    })
    .await
    .map_err(|refused| refused.or(ServiceFault::NotStored))
}

/// Puts the app's own endpoints back where a client sent what discovery shows of them.
fn recognise(endpoint: &mut Endpoint, present: &ServiceInstance, published: &Published) {
    let Some(uris) = &mut endpoint.uris else { return };
    let shown: Vec<String> =
        present.publications.iter().map(|offer| published.uri(&offer.name)).collect();
    if !shown.is_empty() && *uris == shown {
        *endpoint = present.info.transport_info.endpoint.clone();
        return;
    }
    for uri in uris {
        if let Some(at) = shown.iter().position(|known| known == uri) {
            uri.clone_from(&present.publications[at].target);
        }
    }
}

/// The endpoints the gateway can offer; the others are logged.
fn publishable(platform: &Platform, info: &ServiceInfo) -> Vec<Url> {
    let registry = Arc::clone(platform.control.catalog().registry());
    exposure::endpoints(info, &platform.guard, &registry)
        .into_iter()
        .filter_map(|endpoint| {
            endpoint
                .inspect_err(
                    |why| tracing::warn!(service.name = info.ser_name, %why, "endpoint left out"),
                )
                .ok()
        })
        .collect()
}

fn offers(
    catalog: &Catalog,
    info: &ServiceInfo,
    wanted: &[Url],
    present: &[Publication],
) -> (Vec<Publication>, Vec<Change>) {
    exposure::plan(catalog, wanted, present, &mut || exposure::name_of(&info.ser_name))
}

/// `otherwise` is the state of one whose request names none that clients may ask for.
fn instance(
    platform: &Platform,
    id: Id,
    app: Id,
    info: &ServiceInfo,
    publications: Vec<Publication>,
    otherwise: State,
) -> ServiceInstance {
    ServiceInstance {
        id,
        app: Ref::new(app),
        service_name: Ref::new(ServiceName::id_of(&info.ser_name)),
        info: info.clone(),
        state: State::requested(&info.state).unwrap_or(otherwise),
        publications,
        renewed_at_ms: platform.clock.unix_ms(),
        shown: OnceLock::new(),
        shown_by_standard: OnceLock::new(),
    }
}

fn is_full(catalog: &Catalog, app: Id) -> bool {
    catalog.children::<ServiceInstance>("app", app).count() >= MOST_SERVICES
}

/// Names without services that are kept at most.
const MOST_UNUSED: usize = 1000;

/// The name a service refers to, where nobody needed it before. In its place others are forgotten.
fn missing_name(platform: &Platform, catalog: &Catalog, name: &str) -> Vec<Change> {
    let id = ServiceName::id_of(name);
    if catalog.get::<ServiceName>(id).is_some() {
        return Vec::new();
    }
    let mut changes = too_many_names(catalog);
    let known_since_ms = platform.clock.unix_ms();
    changes.push(entities::put(id, &ServiceName { id, name: name.to_owned(), known_since_ms }));
    changes
}

/// Removes the longest known of the names nobody uses, half of them at once, so that they are
/// seldom counted. Those that are used are at most as many as there are services.
fn too_many_names(catalog: &Catalog) -> Vec<Change> {
    let count = |kind| catalog.collection(kind).map_or(0, Collection::len);
    if count(ServiceName::KIND) < count(ServiceInstance::KIND) + MOST_UNUSED {
        return Vec::new();
    }
    let is_used = |name: &Item<ServiceName>| {
        catalog.children::<ServiceInstance>("service_name", name.id()).next().is_some()
    };
    let mut unused: Vec<_> = catalog.all::<ServiceName>().filter(|name| !is_used(name)).collect();
    unused.sort_by_key(|name| name.known_since_ms);
    let going = unused.len().saturating_sub(MOST_UNUSED / 2);
    unused[..going].iter().map(|name| entities::remove::<ServiceName>(name.id())).collect()
}

/// A new id: the first half tells the name, the second is random.
///
/// Instances of one name share their first 16 digits, which the original took from the key its
/// registry kept the name under.
fn new_id(name: &str) -> Result<Id, ServiceFault> {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&name_digits(name));
    bytes[8..].copy_from_slice(random::<8>().map_err(|_| ServiceFault::NoId)?.as_slice());
    Ok(Id::from_bytes(bytes))
}

fn name_digits(name: &str) -> [u8; 8] {
    let key = format!("/cse-sr/ms/indexes////default/{name}/1.0.0");
    let mut digits = [0; 8];
    digits.copy_from_slice(&digest(&SHA256, key.as_bytes()).as_ref()[..8]);
    digits
}

#[cfg(test)]
mod tests {
    use super::name_digits;

    #[test]
    fn ids_begin_as_the_original_s() {
        for (name, digits) in [
            ("FaceRegService5", "45ddaf1ccf79c4be"),
            ("sampleapp", "d9f72dad154cbd9e"),
            ("locationService", "96beb13604560329"),
            ("ExampleService", "b695b0e956b830b9"),
            ("facerecognition_service", "016ca380a1a93720"),
        ] {
            assert_eq!(hex::encode(name_digits(name)), digits, "{name}");
        }
    }
}
