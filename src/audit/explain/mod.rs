//! Which events make a number, and which do not count, and why.

mod answer;
mod field;
mod line;
mod tally;
mod users;

pub use answer::{Answer, Entry, EventEntry, More, NotCounted, Opening, Place, Reason, StoredRow, UserEntry};
pub use field::{Field, FieldKind};
pub use line::DaySlice;
pub use tally::{Question, Tally};
