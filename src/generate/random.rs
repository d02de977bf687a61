//! Chance and identity, both functions of the plan's seed alone.

use uuid::{Builder, Uuid};

/// The odd constant that `SplitMix64` steps by: 2^64 divided by the golden ratio.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Scrambles 64 bits; two different inputs never give the same output.
pub(super) fn mix(input: u64) -> u64 {
    let a = (input ^ (input >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let b = (a ^ (a >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    b ^ (b >> 31)
}

/// A position in a list; positions never exceed what memory holds.
pub(super) fn index(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

/// A seeded generator (`SplitMix64`), our own rather than a library's: the output for a seed is compared with
/// files made years ago, so it must never change with the version of a library. For the same reason the whole
/// module keeps to integers: `ln`, `exp` and `powf` differ in the last bit between platforms.
pub(super) struct Random {
    state: u64,
}

impl Random {
    /// A sequence of its own for each `purpose`, so that a draw added to one doesn't shift another.
    pub(super) fn new(seed: u64, purpose: u64) -> Self {
        Self { state: mix(mix(seed.wrapping_add(STEP)) ^ purpose.wrapping_mul(STEP)) }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        mix(self.state)
    }

    /// A number in `0..limit`, or 0 if the range is empty.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }

    /// A number in `low..=high`.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below((high - low).saturating_add(1))
    }

    /// True `percent` times in a hundred.
    pub(super) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A number in `0..limit` in which small ones are much likelier: a few users write most of the mail.
    pub(super) fn skewed(&mut self, limit: u32) -> u32 {
        let uniform = self.next() >> 32;
        let squared = (uniform * uniform) >> 32;
        ((squared * u64::from(limit)) >> 32) as u32
    }

    /// One of `choices`, which must not be empty.
    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[index(self.below(choices.len() as u64))]
    }
}

/// 2 to the power of `exponent` / 65,536, straight lines between the whole powers; exponents up to 40.
pub(super) fn power_of_two(exponent: u64) -> u64 {
    let (whole, fraction) = (exponent >> 16, exponent & 0xffff);
    (1 << whole) + ((fraction << whole) >> 16)
}

/// What a GUID names; the same number in two kinds gives unrelated GUIDs.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Event = 1,
    Service,
    User,
    Message,
    Attachment,
    Reseller,
    Partner,
    Collection,
    Group,
}

/// GUIDs computed from what they name, so that none has to be remembered.
pub(super) struct Guids {
    key: u64,
}

impl Guids {
    pub(super) fn new(seed: u64) -> Self {
        Self { key: mix(seed ^ STEP) }
    }

    /// The GUID of the `number`th thing of a kind, in the form of a random (version 4) UUID.
    pub(super) fn of(&self, kind: Kind, number: u64) -> Uuid {
        let key = mix(self.key.wrapping_add(kind as u64));
        let high = mix(number.wrapping_mul(STEP) ^ key);
        let low = mix(high.wrapping_add(key));
        Builder::from_random_bytes(((u128::from(high) << 64) | u128::from(low)).to_be_bytes()).into_uuid()
    }
}
