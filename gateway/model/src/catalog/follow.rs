//! [`Catalog::follow`]: to a catalog that was checked elsewhere.

use std::sync::Arc;

use super::{Catalog, resolve};
use crate::{Document, Id, Rejection, Revision, Write};

impl Catalog {
    /// The catalog at `revision`, given what another node changed since this one: kind, id and
    /// document, `None` for what was deleted. All the rest stays the same objects, also where a
    /// document is given that is here already.
    ///
    /// As with [`Catalog::load`], documents were checked when they were written, and kinds this
    /// process does not know are left out.
    ///
    /// # Errors
    ///
    /// A document its type cannot read.
    pub fn follow(
        &self,
        revision: Revision,
        rows: impl IntoIterator<Item = (String, Id, Option<Document>)>,
    ) -> Result<(Self, Vec<Write>), Rejection> {
        let mut changed: Vec<(usize, Write)> = Vec::new();
        for (kind, id, document) in rows {
            let Some(at) = self.registry.index(&kind) else { continue };
            let kind = self.registry.kinds()[at];
            let before = self.collections[at].get(id).cloned();
            let after = match document {
                Some(mut document) => {
                    let violations = self.registry.complete(kind, &mut document);
                    if !violations.is_empty() {
                        return Err(Rejection::Invalid(violations));
                    }
                    if before.as_ref().is_some_and(|before| before.document() == document) {
                        continue;
                    }
                    Some(self.typed(kind, document)?)
                }
                None if before.is_none() => continue,
                None => None,
            };
            changed.push((at, Write { kind: kind.kind, id, before, after }));
        }

        let mut next = Self { revision, ..self.clone() };
        // All old ones first: a unique value may have passed from one entity to another.
        for (at, write) in &changed {
            Arc::make_mut(&mut next.collections[*at]).remove(write.id);
        }
        for (at, write) in &changed {
            if let Some(stored) = &write.after {
                Arc::make_mut(&mut next.collections[*at]).put(Arc::clone(stored));
            }
        }
        let forms = changed.iter().flat_map(|(_, write)| [&write.before, &write.after]).flatten();
        let vaults = resolve::names(forms);
        for (at, id) in next.renew(|name| vaults.contains(name)) {
            let after = next.collections[at].get(id).cloned();
            match changed.iter_mut().find(|(known, write)| *known == at && write.id == id) {
                Some((_, write)) => write.after = after,
                None => {
                    let before = self.collections[at].get(id).cloned();
                    let kind = self.registry.kinds()[at].kind;
                    changed.push((at, Write { kind, id, before, after }));
                }
            }
        }
        Ok((next, changed.into_iter().map(|(_, write)| write).collect()))
    }
}
