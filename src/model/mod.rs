//! What the program talks about: events, identities, days and rows. No input or output happens here.

mod content;
mod day;
mod erased;
mod event;
mod guid;
mod identity;
mod instant;
mod service;
mod usage;

pub use content::{content, content_key};
pub use day::{Day, PeriodType, Zone};
pub use erased::{Erased, Masks};
pub use event::{
    Attachment, Event, EventData, EventType, Feature, GroupType, Member, MemberKind, MemberRule, MemberValue,
    VoidTarget,
};
pub use guid::{canonical_guid, parse_guid, parse_hyphenated_guid};
pub use identity::{IdentityHash, SourceHash};
pub use instant::{Instant, LastDate};
pub use service::{Company, Contact, Patch, Service, ServiceStatus};
pub use usage::{FEATURES, Gauges, Numbers, Reason, RowState, USER_CLASSES, UsageRow, UserClass};
