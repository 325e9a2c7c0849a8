//! Another way to far replicas than connections: a function that gives them, for a pass whose members lie in its own process.
//!
//! Promises: the pass is the same one; it asks this in place of the door, and nobody is connected to. Never set by the program itself.

use std::fmt;
use std::sync::Arc;

use crate::codespace::replica::Replica;
use crate::reconcile::report::Fault;

/// What a place is opened with: its name goes in.
type Open = dyn Fn(&str) -> Result<Box<dyn Replica>, Fault> + Send + Sync;

/// Opens places without a connection. Clones are the same one.
#[derive(Clone)]
pub struct Opener(Arc<Open>);

impl Opener {
    /// With a function that gives the replica of a place, or says why there is none.
    pub fn new(open: impl Fn(&str) -> Result<Box<dyn Replica>, Fault> + Send + Sync + 'static) -> Self {
        Self(Arc::new(open))
    }

    pub(super) fn open(&self, name: &str) -> Result<Box<dyn Replica>, Fault> {
        (self.0)(name)
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").finish_non_exhaustive()
    }
}
