//! A map of things that lapse by themselves, with a bound on how many it holds.
//!
//! It reads no clock: every call names the moment. Locks and accepted signatures are kept in it.

use std::hash::Hash;

use dashmap::DashMap;

/// Entries that each lapse at a moment of their own. All moments are milliseconds since the Unix
/// epoch; an entry lives up to and including its last one.
pub(crate) struct Recent<K, V> {
    entries: DashMap<K, Entry<V>>,
    capacity: usize,
}

struct Entry<V> {
    value: V,
    lapses_ms: u64,
}

impl<K: Eq + Hash, V> Recent<K, V> {
    /// A map of about `capacity` entries. When it is full, those that lapse soonest make room.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { entries: DashMap::new(), capacity: capacity.max(1) }
    }

    /// Looks at the entry of `key`, unless it has lapsed.
    pub(crate) fn read<T>(&self, key: &K, now_ms: u64, look: impl FnOnce(&V) -> T) -> Option<T> {
        let entry = self.entries.get(key)?;
        (now_ms <= entry.lapses_ms).then(|| look(&entry.value))
    }

    /// Changes or creates the entry of `key`, atomically with respect to other calls for that key.
    ///
    /// `next` is given the present value, or `None` when there is none or it has lapsed, and returns
    /// the value to keep with the last moment of its life.
    pub(crate) fn update(&self, key: K, now_ms: u64, next: impl FnOnce(Option<V>) -> (V, u64))
    where
        V: Copy,
    {
        if self.entries.len() >= self.capacity && !self.entries.contains_key(&key) {
            self.make_room(now_ms);
        }
        let entry = self.entries.entry(key);
        let present = match &entry {
            dashmap::Entry::Occupied(held) if now_ms <= held.get().lapses_ms => {
                Some(held.get().value)
            }
            _ => None,
        };
        let (value, lapses_ms) = next(present);
        entry.insert(Entry { value, lapses_ms });
    }

    /// Forgets an entry; whether there was one.
    pub(crate) fn remove(&self, key: &K) -> bool {
        self.entries.remove(key).is_some()
    }

    /// Drops what has lapsed; when that is nothing, the eighth that lapses soonest. So a full map is
    /// walked once in many insertions, not in each.
    fn make_room(&self, now_ms: u64) {
        self.entries.retain(|_, entry| now_ms <= entry.lapses_ms);
        if self.entries.len() < self.capacity {
            return;
        }
        let mut moments: Vec<u64> = self.entries.iter().map(|entry| entry.lapses_ms).collect();
        let leaving = moments.len().div_ceil(8);
        let Some(last) = leaving.checked_sub(1) else {
            return; // emptied by another thread meanwhile
        };
        let (_, &mut until, _) = moments.select_nth_unstable(last);
        // Many entries may share one moment; no more than `leaving` of them go.
        let mut left = leaving;
        self.entries.retain(|_, entry| {
            let goes = left > 0 && entry.lapses_ms <= until;
            left -= usize::from(goes);
            !goes
        });
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(map: &Recent<u64, u64>, key: u64, now_ms: u64, lapses_ms: u64) {
        map.update(key, now_ms, |_| (key, lapses_ms));
    }

    fn holds(map: &Recent<u64, u64>, key: u64, now_ms: u64) -> bool {
        map.read(&key, now_ms, |_| ()).is_some()
    }

    #[test]
    fn an_entry_lives_to_its_last_moment_and_not_longer() {
        let map = Recent::new(4);
        put(&map, 1, 0, 10);
        assert!(holds(&map, 1, 10));
        assert!(!holds(&map, 1, 11));
        map.update(1, 11, |present| {
            assert_eq!(present, None);
            (7, 20)
        });
        map.update(1, 20, |present| {
            assert_eq!(present, Some(7));
            (8, 20)
        });
        assert_eq!(map.read(&1, 20, |&value| value), Some(8));
        assert!(map.remove(&1) && !map.remove(&1));
        assert!(!holds(&map, 1, 20));
    }

    #[test]
    fn lapsed_entries_make_room_before_living_ones() {
        let map = Recent::new(16);
        for key in 0..15 {
            put(&map, key, 0, if key < 3 { 5 } else { 100 });
        }
        put(&map, 100, 6, 100);
        put(&map, 101, 6, 100);
        assert_eq!(map.len(), 14);
        assert!((3..15).all(|key| holds(&map, key, 6)));
    }

    #[test]
    fn what_lapses_soonest_makes_room_and_the_bound_holds() {
        let map = Recent::new(16);
        for key in 0..16 {
            put(&map, key, 0, 100 + key);
        }
        put(&map, 99, 0, 1000);
        assert!(!holds(&map, 0, 0) && !holds(&map, 1, 0));
        assert!((2..16).all(|key| holds(&map, key, 0)) && holds(&map, 99, 0));

        // All entries of one moment: the bound holds, and the newest is in.
        let map = Recent::new(16);
        for key in 0..1000 {
            put(&map, key, 0, 100);
            assert!(map.len() <= 16, "{key}");
            assert!(holds(&map, key, 0), "{key}");
        }
    }

    #[test]
    fn an_update_of_what_is_held_evicts_nothing() {
        let map = Recent::new(2);
        put(&map, 1, 0, 100);
        put(&map, 2, 0, 100);
        put(&map, 1, 0, 100);
        assert_eq!(map.len(), 2);
    }
}
