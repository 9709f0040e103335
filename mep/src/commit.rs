//! How the platform writes: a plan made on the current catalog, made anew when the catalog moved.

use std::sync::Arc;

use gateway_control::Control;
use gateway_model::{Catalog, Change, Condition, Entity, Item, Rejection};

/// Plans changes on the current catalog, applies them, and gives what the plan promised.
///
/// Conditions of the plan ([`unchanged`] and the like) are checked again in the writer's turn. When
/// one fails there, or the changes collide with what came in between, the plan is made again on
/// the newer catalog, where it finds out by itself what to answer. A plan without changes writes
/// nothing.
///
/// # Errors
///
/// What the plan says, or the rejection of changes that still fail after several rounds.
pub(crate) async fn commit<T, E>(
    control: &Control,
    mut plan: impl FnMut(&Arc<Catalog>) -> Result<(Vec<Change>, T), E>,
) -> Result<T, Refused<E>> {
    let mut rounds = 0;
    loop {
        rounds += 1;
        let (changes, promised) = plan(&control.catalog()).map_err(Refused::Plan)?;
        if changes.is_empty() {
            return Ok(promised);
        }
        match control.apply(changes).await {
            Ok(_) => return Ok(promised),
            Err(rejection) if rounds < ROUNDS && may_pass_later(&rejection) => {}
            Err(rejection) => return Err(Refused::Rejection(rejection)),
        }
    }
}

/// More than this many collisions in a row do not happen by chance.
const ROUNDS: u32 = 16;

/// Why nothing was written.
#[derive(Debug)]
pub(crate) enum Refused<E> {
    /// The plan says so.
    Plan(E),
    /// The catalog or the store says so.
    Rejection(Rejection),
}

impl<E> Refused<E> {
    /// The fault to answer with; `otherwise` when the plan had no objection. The operator reads
    /// the rejection in the log.
    pub(crate) fn or(self, otherwise: E) -> E {
        match self {
            Self::Plan(fault) => fault,
            Self::Rejection(rejection) => {
                tracing::error!(%rejection, "a change of the platform was refused");
                otherwise
            }
        }
    }
}

fn may_pass_later(rejection: &Rejection) -> bool {
    matches!(
        rejection,
        Rejection::Condition(_)
            | Rejection::PrimaryKey { .. }
            | Rejection::Unique { .. }
            | Rejection::Reference { .. }
            | Rejection::Referenced { .. }
    )
}

/// Holds as long as the entity is the very one the plan saw.
pub(crate) fn unchanged<T: Entity>(item: &Item<T>) -> Change {
    let item = item.clone();
    require(move |catalog| catalog.get::<T>(item.id()).is_some_and(|now| now.same(&item)))
}

/// Holds as long as there is no entity of this id.
pub(crate) fn absent<T: Entity>(id: gateway_model::Id) -> Change {
    require(move |catalog| catalog.get::<T>(id).is_none())
}

/// Holds as long as `holds` does.
pub(crate) fn require(holds: impl Fn(&Catalog) -> bool + Send + Sync + 'static) -> Change {
    let moved = "the catalog moved while this change was prepared";
    Change::Require(Condition::new(
        move |catalog| {
            if holds(catalog) { Ok(()) } else { Err(moved.to_owned()) }
        },
    ))
}
