//! The hash of an event's identity: one a event, summed into `input_digest` and used to find conflicts.

use std::ops::{Add, AddAssign};

use serde::{Deserialize, Serialize};

/// 128 bits of BLAKE3 over `source` and `id`. The service is left out, because hashes are only ever compared and summed
/// within one service. Sums are taken modulo 2^128, so they don't depend on order (`spec/usage.md`, `input_digest`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IdentityHash(pub u128);

impl IdentityHash {
    #[must_use]
    pub fn of(source: &str, id: &str) -> Self {
        let mut joined = [0_u8; 2 + 256 + 256];
        let length = u16::try_from(source.len()).expect("a source has at most 256 bytes");
        let (source_end, end) = (2 + source.len(), 2 + source.len() + id.len());
        joined[..2].copy_from_slice(&length.to_le_bytes());
        joined[2..source_end].copy_from_slice(source.as_bytes());
        joined[source_end..end].copy_from_slice(id.as_bytes());
        let hash = blake3::hash(&joined[..end]);
        let (low, _) = hash.as_bytes().split_first_chunk::<16>().expect("a BLAKE3 hash has 32 bytes");
        Self(u128::from_le_bytes(*low))
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

    #[test]
    fn where_source_ends_and_id_begins_matters() {
        assert_ne!(IdentityHash::of("ab", "c"), IdentityHash::of("a", "bc"));
        assert_eq!(IdentityHash::of("a", "b"), IdentityHash::of("a", "b"));
    }

    #[test]
    fn sums_do_not_depend_on_order() {
        let [a, b, c] = ["a", "b", "c"].map(|id| IdentityHash::of("/s", id));
        assert_eq!(a + b + c, c + a + b);
    }

    #[test]
    fn the_longest_identity_fits() {
        let longest = "x".repeat(256);
        let _ = IdentityHash::of(&longest, &longest);
    }
}
