//! Twins of what the program knows, as the wire has it: types with their members in the published order (`spec/api.md`,
//! section 4).

pub(super) mod document;
pub(super) mod page;
pub(super) mod ping;
pub(super) mod response_status;
pub(super) mod service;
pub(super) mod service_usage;
pub(super) mod status_change;
pub(super) mod user_count_report;
pub(super) mod user_usage;
pub(super) mod value;
