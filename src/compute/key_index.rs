//! Distinct keys, numbered 0, 1, 2, … in the order in which they first come.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use larder_model::in_key_order;

/// A set of byte strings; each has a dense number. Bytes are kept once, end to end.
#[derive(Default)]
pub struct KeyIndex {
    table: HashTable<Slot>,
    bytes: Vec<u8>,
    /// Key `id` is `bytes[ends[id - 1]..ends[id]]`.
    ends: Vec<usize>,
}

/// A key's number. Its hash is kept, so that no key is read again where the table grows.
struct Slot {
    hash: Hash,
    id: u32,
}

#[derive(Clone, Copy, PartialEq)]
struct Hash(u32);

impl Hash {
    fn of(key: &[u8]) -> Hash {
        Hash(xxh3_64(key) as u32)
    }

    /// The table takes a place out of the low bits and a tag out of the high ones.
    fn spread(self) -> u64 {
        u64::from(self.0) << 32 | u64::from(self.0)
    }
}

impl KeyIndex {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The bytes of key `id`, which is below [`KeyIndex::len`].
    pub fn key(&self, id: u32) -> &[u8] {
        slice(&self.bytes, &self.ends, id)
    }

    pub fn get(&self, key: &[u8]) -> Option<u32> {
        let hash = Hash::of(key);
        let found = self.table.find(hash.spread(), |slot| slot.hash == hash && self.key(slot.id) == key);
        found.map(|slot| slot.id)
    }

    pub fn insert(&mut self, key: &[u8]) -> u32 {
        let Self { table, bytes, ends } = self;
        let hash = Hash::of(key);
        let found = table.entry(
            hash.spread(),
            |slot| slot.hash == hash && slice(bytes, ends, slot.id) == key,
            |slot| slot.hash.spread(),
        );
        match found {
            hashbrown::hash_table::Entry::Occupied(entry) => entry.get().id,
            hashbrown::hash_table::Entry::Vacant(entry) => {
                let id = ends.len() as u32;
                entry.insert(Slot { hash, id });
                bytes.extend_from_slice(key);
                ends.push(bytes.len());
                id
            }
        }
    }

    /// All numbers, in the order of their keys' bytes.
    pub fn sorted(&self) -> Vec<u32> {
        in_key_order(0..self.len() as u32, |id| ((), self.key(id)))
    }
}

fn slice<'a>(bytes: &'a [u8], ends: &[usize], id: u32) -> &'a [u8] {
    let id = id as usize;
    let start = if id == 0 { 0 } else { ends[id - 1] };
    &bytes[start..ends[id]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_are_dense_and_keys_come_back(keys: Vec<Vec<u8>>) {
            let mut index = KeyIndex::new();
            for key in &keys {
                let known = index.get(key);
                let id = index.insert(key);
                prop_assert_eq!(index.insert(key), id);
                prop_assert!(known.is_none_or(|known| known == id));
                prop_assert_eq!(index.get(key), Some(id));
                prop_assert_eq!(index.key(id), &key[..]);
            }
            let distinct: std::collections::BTreeSet<_> = keys.iter().cloned().collect();
            prop_assert_eq!(index.len(), distinct.len());
            let sorted: Vec<_> = index.sorted().into_iter().map(|id| index.key(id).to_vec()).collect();
            prop_assert_eq!(sorted, distinct.into_iter().collect::<Vec<_>>());
        }
    }
}
