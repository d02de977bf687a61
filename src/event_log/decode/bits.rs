//! Parquet's integer encodings, read back: the RLE/bit-packing hybrid and `DELTA_BINARY_PACKED` (the format's
//! `Encodings.md`). Bytes come from files whose hash was checked; what is out of shape all the same is an error, never a panic.

#![expect(clippy::cast_possible_truncation, reason = "bits are put together here, and masked before they are cut")]

use super::Corrupt;

/// A delta block is at most this long; writers use 128.
const MAX_BLOCK: u64 = 1 << 16;

/// What is left of some bytes.
#[derive(Clone, Copy)]
pub(super) struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub fn split(&mut self, length: usize) -> Result<&'a [u8], Corrupt> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Corrupt("a page ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    /// Bytes behind their length of four bytes.
    pub fn sized(&mut self) -> Result<&'a [u8], Corrupt> {
        let length = self.split(4)?.try_into().map_or(0, u32::from_le_bytes);
        self.split(length as usize)
    }

    fn byte(&mut self) -> Result<u8, Corrupt> {
        Ok(self.split(1)?[0])
    }

    fn varint(&mut self) -> Result<u64, Corrupt> {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Corrupt("an integer of a page is too long"))
    }

    fn zigzag(&mut self) -> Result<i64, Corrupt> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }
}

/// Calls `take` with `count` values of so many bits that are packed at the start of `window`. What stands behind them is
/// looked at, but makes no difference.
#[inline]
fn unpack(window: &[u8], width: u32, count: usize, mut take: impl FnMut(u64)) -> Result<(), Corrupt> {
    if width > u64::BITS || (window.len() as u64) * 8 < count as u64 * u64::from(width) {
        return Err(Corrupt("packed values are cut short"));
    }
    let mask = if width == 0 { 0 } else { u64::MAX >> (u64::BITS - width) };
    let mut bit = 0;
    for _ in 0..count {
        let (byte, shift) = (bit / 8, bit as u32 % 8);
        let word = match window.get(byte..).and_then(<[u8]>::first_chunk) {
            Some(word) if shift + width <= u64::BITS => u64::from_le_bytes(*word) >> shift,
            _ => slow_word(&window[byte.min(window.len())..], shift),
        };
        take(word & mask);
        bit += width as usize;
    }
    Ok(())
}

/// 64 bits, where fewer bytes are left or the value reaches into a ninth.
#[inline(never)]
fn slow_word(bytes: &[u8], shift: u32) -> u64 {
    let mut padded = [0; 16];
    let length = bytes.len().min(9);
    padded[..length].copy_from_slice(&bytes[..length]);
    (u128::from_le_bytes(padded) >> shift) as u64
}

/// Reads `count` values of the RLE/bit-packing hybrid: `run` is called with a value and how often it comes.
#[inline]
pub(super) fn hybrid(bytes: &[u8], width: u32, count: usize, mut run: impl FnMut(u32, usize)) -> Result<(), Corrupt> {
    if width > u32::BITS {
        return Err(Corrupt("levels or indices of more than 32 bits"));
    }
    let mut input = Input(bytes);
    let mut left = count;
    while left > 0 {
        let header = input.varint()?;
        let length = (header >> 1).min(left as u64 + 7) as usize;
        if header & 1 == 0 {
            let value = input.split(width.div_ceil(8) as usize)?;
            let value = value.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte));
            run(value, length.min(left));
            left -= length.min(left);
        } else {
            let values = (length * 8).min(left);
            unpack(input.0, width, values, |value| run(value as u32, 1))?;
            // The last group may be cut short of its padding.
            input.split(input.0.len().min(length * width as usize))?;
            left -= values;
        }
        if length == 0 {
            return Err(Corrupt("an empty run"));
        }
    }
    Ok(())
}

/// Reads all values of `DELTA_BINARY_PACKED` into `values`, in place of what it held.
pub(super) fn deltas(bytes: &[u8], expected: usize, values: &mut Vec<i64>) -> Result<(), Corrupt> {
    let mut input = Input(bytes);
    let (block, miniblocks, count) = (input.varint()?, input.varint()?, input.varint()?);
    if count != expected as u64 || block > MAX_BLOCK || miniblocks == 0 || block % miniblocks != 0 {
        return Err(Corrupt("the header of delta-packed values"));
    }
    let per_miniblock = (block / miniblocks) as usize;
    let mut value = input.zigzag()?;
    values.clear();
    if count == 0 {
        return Ok(());
    }
    values.push(value);
    while values.len() < expected {
        let least = input.zigzag()?;
        for width in input.split(miniblocks as usize)? {
            let here = per_miniblock.min(expected - values.len());
            if here == 0 {
                break;
            }
            let width = u32::from(*width);
            unpack(input.0, width, here, |over| {
                value = value.wrapping_add(least).wrapping_add(over.cast_signed());
                values.push(value);
            })?;
            input.split(input.0.len().min(per_miniblock * width as usize / 8))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::encode::bits::{push_bits, push_deltas, push_hybrid};
    use super::*;

    proptest! {
        #[test]
        fn hybrid_values_come_back(runs in prop::collection::vec((0_u32..1 << 17, 1_usize..40), 0..60)) {
            let values: Vec<u32> = runs.iter().flat_map(|(value, times)| std::iter::repeat_n(*value, *times)).collect();
            let mut bytes = Vec::new();
            push_hybrid(&mut bytes, &values, 17);
            let mut read = Vec::new();
            hybrid(&bytes, 17, values.len(), |value, times| read.extend(std::iter::repeat_n(value, times))).unwrap();
            prop_assert_eq!(read, values);
        }

        #[test]
        fn bits_come_back(runs in prop::collection::vec((any::<bool>(), 1_usize..90), 0..40)) {
            let values: Vec<u32> = runs.iter().flat_map(|(value, times)| std::iter::repeat_n((*value).into(), *times)).collect();
            let byte = |values: &[u32]| (0..).zip(values).fold(0, |byte, (bit, value)| byte | u8::from(*value == 1) << bit);
            let mut bytes = Vec::new();
            push_bits(&mut bytes, &values.chunks(8).map(byte).collect::<Vec<u8>>(), values.len());
            let mut read = Vec::new();
            hybrid(&bytes, 1, values.len(), |value, times| read.extend(std::iter::repeat_n(value, times))).unwrap();
            prop_assert_eq!(read, values);
        }

        #[test]
        fn deltas_come_back(values in prop::collection::vec(prop_oneof![any::<i64>(), -50_i64..50], 0..700)) {
            let mut bytes = Vec::new();
            push_deltas(&mut bytes, &values);
            let mut read = Vec::new();
            deltas(&bytes, values.len(), &mut read).unwrap();
            prop_assert_eq!(read, values);
        }

        #[test]
        fn whatever_the_bytes_are_nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), width in 0_u32..40, count in 0_usize..300) {
            _ = hybrid(&bytes, width, count, |_, _| ());
            _ = deltas(&bytes, count, &mut Vec::new());
        }
    }
}
