//! What rows hold, added up whatever their order: whether segments that were written anew hold what they were made of.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int64Type, TimestampNanosecondType};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;

/// What a line is told from its copies by, and what merging tells anew.
const OF_THE_LINE: [&str; 2] = ["input", "line"];
const MARK: &str = "is_copy";

/// The sum of the hashes of rows, of every column but the mark of copies. Two sets of rows that differ have different sums:
/// the hashes are BLAKE3, and added modulo 2^256 by halves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowsDigest {
    rows: u64,
    sums: [u128; 2],
}

impl RowsDigest {
    /// Adds the rows of a batch with all columns, and gives the hash of each without its input and line: copies have the
    /// same.
    pub(super) fn add(&mut self, batch: &RecordBatch) -> Vec<blake3::Hash> {
        let schema = batch.schema();
        let columns = schema.fields().iter().zip(batch.columns()).filter(|(field, _)| field.name() != MARK);
        let (of_line, of_event): (Vec<_>, Vec<_>) =
            columns.partition(|(field, _)| OF_THE_LINE.contains(&field.name().as_str()));
        let mut bytes = Vec::new();
        let hash = |row: usize| {
            bytes.clear();
            for (_, column) in &of_event {
                push_cell(column, row, &mut bytes);
            }
            let event = blake3::hash(&bytes);
            bytes.clear();
            bytes.extend_from_slice(event.as_bytes());
            for (_, column) in &of_line {
                push_cell(column, row, &mut bytes);
            }
            self.add_hash(blake3::hash(&bytes));
            event
        };
        (0..batch.num_rows()).map(hash).collect()
    }

    fn add_hash(&mut self, hash: blake3::Hash) {
        self.rows += 1;
        let (halves, _) = hash.as_bytes().as_chunks::<16>();
        for (sum, half) in self.sums.iter_mut().zip(halves) {
            *sum = sum.wrapping_add(u128::from_le_bytes(*half));
        }
    }
}

/// A value as bytes that no other one of its column has, and that none of them begins with.
fn push_cell(column: &dyn Array, row: usize, bytes: &mut Vec<u8>) {
    bytes.push(column.is_valid(row).into());
    if column.is_null(row) {
        return;
    }
    match column.data_type() {
        DataType::FixedSizeBinary(_) => bytes.extend_from_slice(column.as_fixed_size_binary().value(row)),
        DataType::Int64 => bytes.extend(column.as_primitive::<Int64Type>().value(row).to_le_bytes()),
        DataType::Timestamp(..) => {
            bytes.extend(column.as_primitive::<TimestampNanosecondType>().value(row).to_le_bytes());
        }
        DataType::Boolean => bytes.push(column.as_boolean().value(row).into()),
        DataType::Utf8 => {
            let text = column.as_string::<i32>().value(row);
            bytes.extend(text.len().to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        DataType::List(_) => {
            let items = column.as_list::<i32>().value(row);
            bytes.extend(items.len().to_le_bytes());
            (0..items.len()).for_each(|item| push_cell(&items, item, bytes));
        }
        DataType::Struct(_) => column.as_struct().columns().iter().for_each(|of| push_cell(of, row, bytes)),
        other => unreachable!("the schema has no column of {other}"),
    }
}
