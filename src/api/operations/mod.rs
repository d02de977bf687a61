//! The operations, one file each. `routes` says how they are reached.

pub(super) mod get_service_usage;
pub(super) mod ping;
