//! The hash of an event's identity: one a event, summed into `input_digest` and used to find conflicts.

use std::ops::{Add, AddAssign};

use serde::{Deserialize, Serialize};
use twox_hash::{XxHash3_64, XxHash3_128};

/// 128 bits that stand for `source` and `id`: XXH3-128 of the id, seeded with XXH3-64 of the source. The service is left out,
/// because hashes are only ever compared and summed within one service. Sums are taken modulo 2^128, so they don't depend on
/// order (`spec/usage.md`, `input_digest`). Two identities with one hash would be a rare accident that somebody may bring
/// about: what decides about events compares identities themselves where hashes are equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IdentityHash(pub u128);

/// What all identities of one source have in common. Sources are few, so it is worth keeping.
#[derive(Clone, Copy, Debug, Hash)]
pub struct SourceHash(u64);

impl SourceHash {
    #[must_use]
    pub fn of(source: &str) -> Self {
        Self(XxHash3_64::oneshot(source.as_bytes()))
    }
}

impl IdentityHash {
    #[inline]
    #[must_use]
    pub fn of(source: SourceHash, id: &str) -> Self {
        Self(XxHash3_128::oneshot_with_seed(source.0, id.as_bytes()))
    }
}

impl Add for IdentityHash {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }
}

impl AddAssign for IdentityHash {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(source: &str, id: &str) -> IdentityHash {
        IdentityHash::of(SourceHash::of(source), id)
    }

    /// The hash is stored in every row: it must be the same for ever.
    #[test]
    fn the_hash_never_changes() {
        insta::assert_snapshot!(format!("{:032x}", hash("/messaging/eu1", "6f0c7c4e-52a1-4d7e-9c1b-0f3f0c5b8a11").0), @"feabece42c92ed251a58a7414f28409b");
    }

    #[test]
    fn where_source_ends_and_id_begins_matters() {
        assert_ne!(hash("ab", "c"), hash("a", "bc"));
        assert_eq!(hash("a", "b"), hash("a", "b"));
    }

    #[test]
    fn sums_do_not_depend_on_order() {
        let [a, b, c] = ["a", "b", "c"].map(|id| hash("/s", id));
        assert_eq!(a + b + c, c + a + b);
    }
}
