//! Equal names, of which one copy is enough: ten thousand sessions lie in a few directories of a few repositories. And small maps, of
//! which there are as many.

use std::collections::BTreeSet;

use litemap::LiteMap;

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

/// Puts something into a map of which there are thousands, most of them with one entry: no room is kept for more.
pub fn put<K: Ord, V>(map: &mut LiteMap<K, V>, key: K, value: V) {
    if map.is_empty() {
        *map = LiteMap::with_capacity(1);
    }
    map.insert(key, value);
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
