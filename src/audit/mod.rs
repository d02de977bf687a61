//! Auditing: whether what is stored is what was sent, and which events make a number, of a service or of
//! its users. Pure but for reading segments: `jobs`
//! hands in what the store holds.

mod compare;
mod difference;
pub mod explain;

mod fresh;
mod ledger;
mod line;
mod segments;
pub mod user_usage;

pub use compare::{Compared, HeldBack, Within, compare};
pub use difference::{Difference, Differences, Subject};
pub use fresh::{Facts, Recomputed, by_service};
pub use ledger::{Ledger, compare_ledger, compare_voids};
pub use line::DaySlice;
pub use segments::{CheckedSegment, check_segment};
