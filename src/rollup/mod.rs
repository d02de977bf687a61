//! The rollup core: from a UTC day's events to facts, and from facts to rows. Pure and synchronous; it knows neither the
//! store nor the runtime. A partition is always recomputed whole, so that late events, duplicates, voids and recovery are
//! one operation (`ARCHITECTURE.md`).

mod across;
mod contents;
mod facts;
mod fold;
mod merge;
mod partition;
mod rows;
mod service;
mod spans;
mod stored;
mod users;

pub use facts::{ContentOrders, DayFacts, PartitionFacts, PartitionTask, PatchEvent, ServiceDay, Uncounted, VoidMark};
pub use fold::{ALL_SERVICES, FoldRules, Folded, Folder, Services};
pub use merge::{Changes, MergedService, MergedUsers, ServiceChange, ServiceTotals, UserKey};
pub use rows::{DraftRow, draft_rows};
pub use spans::{SpanChange, SpanFacts, SpanStart};
pub use users::{RecentUsers, UserDay, UserHistory, class_moves};
