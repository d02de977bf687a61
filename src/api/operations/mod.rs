//! The operations, one file each. `routes` says how they are reached.

pub(super) mod export_usage;
pub(super) mod get_reseller_service_usage;
pub(super) mod get_service;
pub(super) mod get_service_usage;
pub(super) mod get_services_usage;
pub(super) mod ping;
pub(super) mod search_services;
