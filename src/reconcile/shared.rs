//! Equal names, of which one copy is enough: ten thousand sessions lie in a few directories of a few repositories.

use std::collections::BTreeSet;

/// The names met so far; their clones must be no copies.
#[derive(Debug)]
pub struct Shared<T>(BTreeSet<T>);

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

impl<T: Ord + Clone> Shared<T> {
    /// The first that was equal to this one.
    pub fn first(&mut self, name: T) -> T {
        if let Some(known) = self.0.get(&name) {
            return known.clone();
        }
        self.0.insert(name.clone());
        name
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn of_equal_names_one_is_kept() {
        let mut shared = Shared::default();
        let [one, two, other] = ["a", "a", "b"].map(|name| shared.first(Arc::<str>::from(name)));
        assert!(Arc::ptr_eq(&one, &two) && !Arc::ptr_eq(&one, &other));
    }
}
