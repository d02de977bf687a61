//! Parquet's integer encodings: bit packing, the RLE/bit-packing hybrid of levels and dictionary indices, and
//! `DELTA_BINARY_PACKED` (the format's `Encodings.md`).

#![expect(clippy::cast_possible_truncation, reason = "values are cut into bytes and words here, piece by piece")]

/// Rows that the hybrid packs together; a run shorter than this is not worth a header of its own.
const GROUP: usize = 8;

/// A delta block, and the miniblocks in it.
const BLOCK: usize = 128;
const MINIBLOCKS: usize = 4;

/// How many bits it takes to write any value up to this one.
pub(super) fn width_of(greatest: u64) -> u32 {
    u64::BITS - greatest.leading_zeros()
}

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn push_zigzag(out: &mut Vec<u8>, value: i64) {
    push_varint(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

/// Packs values of so many bits, the first into the lowest bits; what is left of the last byte is zero.
fn pack(out: &mut Vec<u8>, values: impl Iterator<Item = u64>, width: u32) {
    let (mut pending, mut bits) = (0_u64, 0);
    for value in values {
        pending |= value << bits;
        bits += width;
        if bits >= u64::BITS {
            out.extend_from_slice(&pending.to_le_bytes());
            bits -= u64::BITS;
            // What of the value did not fit; nothing where it did, which no shift by a word's length can say.
            pending = if bits == 0 { 0 } else { value >> (width - bits) };
        }
    }
    out.extend_from_slice(&pending.to_le_bytes()[..bits.div_ceil(8) as usize]);
}

/// Levels and dictionary indices: runs of one value as its count, everything else packed.
pub(in crate::event_log) fn push_hybrid<T: Copy + Eq + Into<u64>>(out: &mut Vec<u8>, values: &[T], width: u32) {
    let (mut packed_from, mut at) = (0, 0);
    while at < values.len() {
        let run = run_length(&values[at..]);
        // Packed values come in whole groups, so the first of a run may have to fill one up.
        let missing = (GROUP - (at - packed_from) % GROUP) % GROUP;
        if run < missing + GROUP {
            at += run;
            continue;
        }
        push_packed(out, &values[packed_from..at + missing], width);
        push_run(out, values[at], run - missing, width);
        at += run;
        packed_from = at;
    }
    push_packed(out, &values[packed_from..], width);
}

/// Levels of 0 and 1, eight to the byte, of so many rows: long runs of one value as its count, everything else as it is.
pub(in crate::event_log) fn push_bits(out: &mut Vec<u8>, bits: &[u8], rows: usize) {
    /// A shorter run costs more than the header of what follows it.
    const BYTES_OF_RUN: usize = 4;
    let (mut packed_from, mut at) = (0, 0);
    let push_packed = |out: &mut Vec<u8>, bytes: &[u8]| {
        if !bytes.is_empty() {
            push_varint(out, (bytes.len() as u64) << 1 | 1);
            out.extend_from_slice(bytes);
        }
    };
    while at < bits.len() {
        let run = match bits[at] {
            value @ (0 | u8::MAX) => bits[at..].iter().take_while(|byte| **byte == value).count(),
            _ => 1,
        };
        // What the last byte has beyond the rows is 0, too.
        if run >= BYTES_OF_RUN {
            push_packed(out, &bits[packed_from..at]);
            push_run(out, bits[at] & 1, (run * 8).min(rows - at * 8), 1);
            packed_from = at + run;
        }
        at += run;
    }
    push_packed(out, &bits[packed_from..]);
}

/// A run of one value.
fn push_run<T: Into<u64>>(out: &mut Vec<u8>, value: T, count: usize, width: u32) {
    push_varint(out, (count as u64) << 1);
    out.extend_from_slice(&value.into().to_le_bytes()[..width.div_ceil(8) as usize]);
}

/// Dictionary indices: their width, and the hybrid.
pub(super) fn push_indices(out: &mut Vec<u8>, indices: &[u32], width: u32) {
    out.push(width as u8);
    push_hybrid(out, indices, width);
}

fn push_packed<T: Copy + Into<u64>>(out: &mut Vec<u8>, values: &[T], width: u32) {
    if values.is_empty() {
        return;
    }
    let groups = values.len().div_ceil(GROUP);
    push_varint(out, (groups as u64) << 1 | 1);
    let padding = groups * GROUP - values.len();
    let values = values.iter().map(|value| (*value).into());
    pack(out, values.chain(std::iter::repeat_n(0, padding)), width);
}

fn run_length<T: Copy + Eq>(values: &[T]) -> usize {
    let first = values[0];
    let is_run = |group: &&[T]| group.iter().filter(|value| **value != first).count() == 0;
    let whole = values.chunks_exact(GROUP).take_while(is_run);
    let start = whole.count() * GROUP;
    start + values[start..].iter().take_while(|value| **value == first).count()
}

/// Flags, each 0 or 1, eight to the byte.
pub(super) fn push_flags(out: &mut Vec<u8>, flags: &[u8]) {
    pack(out, flags.iter().map(|flag| u64::from(*flag)), 1);
}

/// `DELTA_BINARY_PACKED`: the first value, then blocks of differences, each packed as what it has over the least.
pub(in crate::event_log) fn push_deltas(out: &mut Vec<u8>, values: &[i64]) {
    push_varint(out, BLOCK as u64);
    push_varint(out, MINIBLOCKS as u64);
    push_varint(out, values.len() as u64);
    push_zigzag(out, values.first().copied().unwrap_or(0));
    let mut deltas = [0_i64; BLOCK];
    let mut from = 1;
    while from < values.len() {
        let count = BLOCK.min(values.len() - from);
        let pairs = values[from - 1..from + count].windows(2);
        for (delta, pair) in deltas.iter_mut().zip(pairs) {
            *delta = pair[1].wrapping_sub(pair[0]);
        }
        push_delta_block(out, &deltas[..count]);
        from += count;
    }
}

fn push_delta_block(out: &mut Vec<u8>, deltas: &[i64]) {
    const PER_MINIBLOCK: usize = BLOCK / MINIBLOCKS;
    let least = deltas.iter().copied().min().unwrap_or(0);
    let over = |delta: &i64| delta.wrapping_sub(least).cast_unsigned();
    push_zigzag(out, least);
    let widths_at = out.len();
    out.extend_from_slice(&[0; MINIBLOCKS]);
    for (index, miniblock) in deltas.chunks(PER_MINIBLOCK).enumerate() {
        let width = width_of(miniblock.iter().map(over).fold(0, |all, value| all | value));
        out[widths_at + index] = width as u8;
        let padding = PER_MINIBLOCK - miniblock.len();
        pack(out, miniblock.iter().map(over).chain(std::iter::repeat_n(0, padding)), width);
    }
}
