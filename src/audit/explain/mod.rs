//! Which events make a number, and which do not count, and why.

mod answer;
mod field;
mod tally;
mod users;

pub use answer::{Answer, Entry, EventEntry, More, NotCounted, Opening, Place, Reason, StoredRow, UserEntry};
pub use field::{Field, FieldKind};
pub use tally::{Question, Tally};
