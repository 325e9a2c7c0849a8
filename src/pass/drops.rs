//! Displaced files in a far vault go once their bytes are proved to be on this machine.
//!
//! Promises: an object is named for removal only if the far side's digest of all of it is that of the beginning of a file
//! here, read again for this; one that grew after it was displaced, or that only another machine holds, stays. It costs no
//! channel in a visit that sends nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::bases::Bases;
use super::visit::Seen;
use crate::codespace::replica::{Far, VisitError};
use crate::codespace::wire::{VaultDrop, VaultName};
use crate::reconcile::transcript::Digest;

/// Most objects that one visit asks about.
const MOST: usize = 500;

/// The far vault's objects that a visit asks about.
pub(super) fn asked(seen: &Seen) -> Vec<VaultName> {
    seen.listing.vault.iter().take(MOST).map(|object| object.name.clone()).collect()
}

/// The objects that may go, of those whose digests the visit has; asks for them if it did not yet.
///
/// # Errors
/// As [`Far::hash`].
pub(super) async fn proved(far: &mut Far, seen: &mut Seen, bases: &Arc<Bases>) -> Result<Vec<VaultDrop>, VisitError> {
    if seen.listing.vault.is_empty() {
        return Ok(Vec::new());
    }
    let digests = match seen.displaced.take() {
        Some(digests) => digests,
        None => far.hash(&[], &asked(seen)).await?.of_vault(&asked(seen)),
    };
    let (bases, objects) = (Arc::clone(bases), seen.listing.vault.clone());
    let here = move || {
        let drops = objects.into_iter().filter(|object| holds(&bases, &digests, &object.name, object.size));
        drops.map(|object| VaultDrop { name: object.name, size: object.size }).collect()
    };
    tokio::task::spawn_blocking(here).await.map_err(|error| VisitError::Here(std::io::Error::other(error)))
}

fn holds(bases: &Bases, digests: &BTreeMap<VaultName, Digest>, name: &VaultName, size: u64) -> bool {
    let (Some(session), Some(digest)) = (name.session(), digests.get(name)) else { return false };
    let long_enough = bases.of_session(session).filter(|base| base.length >= size);
    // A file that cannot be read proves nothing.
    long_enough.into_iter().any(|base| base.begins_with(size, *digest).unwrap_or(false))
}
