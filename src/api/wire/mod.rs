//! Twins of what the program knows, as the wire has it: members in the published order (`spec/api.md`, section 4), names in
//! camelCase, nulls left out.

pub(super) mod ping;
pub(super) mod response_status;
pub(super) mod service_usage;
pub(super) mod value;
