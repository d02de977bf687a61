//! Looking at eight bytes at once.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Where in these bytes the first quote, backslash or control character stands.
#[inline]
pub(super) fn first_special(bytes: [u8; 8]) -> Option<usize> {
    let word = u64::from_le_bytes(bytes);
    // A borrow makes a false find only behind a true one, which is found first.
    let zero_byte = |word: u64| word.wrapping_sub(ONES) & !word;
    let quote = zero_byte(word ^ (ONES * u64::from(b'"')));
    let backslash = zero_byte(word ^ (ONES * u64::from(b'\\')));
    let below_space = word.wrapping_sub(ONES * 0x20) & !word;
    let found = (quote | backslash | below_space) & HIGH;
    (found != 0).then(|| (found.trailing_zeros() / 8) as usize)
}
