//! Writing Parquet without a detour: values go straight into pages, because building arrays first and encoding them in
//! general ways takes three times as long (`docs/performance.md`). What the format has beyond pages, footer and indices,
//! the parquet crate writes.

pub(super) mod bits;
mod column;
mod page;

pub(super) use column::{Column, DictionaryColumn, Entries, FlagColumn, IntegerColumn, NameColumn, PlainColumn};
pub(super) use page::Packer;

const ZSTD_LEVEL: i32 = 1;
