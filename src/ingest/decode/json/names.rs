//! Names of members, known beforehand: found by comparing what stands in the text with how a name is spelt there.

/// So many bytes hold every known name with its quotes and colon.
pub const LEAD_BYTES: usize = 24;

/// A known name, and the bytes `"name":` that mostly lead to its value.
#[derive(Clone, Copy)]
pub struct Name {
    pub text: &'static str,
    lead: [u64; LEAD_BYTES / 8],
    mask: [u64; LEAD_BYTES / 8],
}

impl Name {
    #[must_use]
    pub const fn new(text: &'static str) -> Self {
        Self::spelt(text, text.len() + 3)
    }

    /// A name that is a value: only its quotes belong to what is compared.
    #[must_use]
    pub const fn quoted(text: &'static str) -> Self {
        Self::spelt(text, text.len() + 2)
    }

    const fn spelt(text: &'static str, length: usize) -> Self {
        let name = text.as_bytes();
        assert!(length <= LEAD_BYTES, "a longer name needs a longer lead");
        let mut name_of = Self { text, lead: [0; LEAD_BYTES / 8], mask: [0; LEAD_BYTES / 8] };
        let mut at = 0;
        while at < length {
            let byte = match at {
                0 => b'"',
                at if at <= name.len() => name[at - 1],
                at if at == name.len() + 1 => b'"',
                _ => b':',
            };
            name_of.lead[at / 8] |= (byte as u64) << (at % 8 * 8);
            name_of.mask[at / 8] |= 0xff << (at % 8 * 8);
            at += 1;
        }
        name_of
    }

    pub const fn all<const COUNT: usize>(texts: [&'static str; COUNT]) -> [Self; COUNT] {
        let mut names = [Self::new(""); COUNT];
        let mut index = 0;
        while index < COUNT {
            names[index] = Self::new(texts[index]);
            index += 1;
        }
        names
    }

    #[inline]
    pub fn leads(&self, ahead: &[u8; LEAD_BYTES]) -> bool {
        let (words, _) = ahead.as_chunks::<8>();
        let differs = |at: usize| (u64::from_le_bytes(words[at]) ^ self.lead[at]) & self.mask[at];
        differs(0) | differs(1) | differs(2) == 0
    }

    #[inline]
    pub fn lead_length(&self) -> usize {
        self.text.len() + 3
    }
}

/// In which order an object's known members came lately. Producers seldom change it, so the next name is mostly guessed right.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// The first member, and then what follows each.
    after: [u8; Self::MAX_NAMES + 1],
}

impl Order {
    pub const MAX_NAMES: usize = 23;

    #[inline]
    pub fn guess(&self, place: usize) -> usize {
        usize::from(self.after[place])
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "an index below MAX_NAMES")]
    pub fn learn(&mut self, place: usize, index: usize) {
        self.after[place] = index as u8;
    }
}

impl Default for Order {
    /// That of the table of names.
    fn default() -> Self {
        let mut after = [0; Self::MAX_NAMES + 1];
        for (place, index) in (0..).zip(&mut after) {
            *index = place;
        }
        Self { after }
    }
}
