//! The operations, one file each. `routes` says how they are reached.

pub(super) mod export_usage;
pub(super) mod get_partner_service_user_count_report;
pub(super) mod get_reseller_service_usage;
pub(super) mod get_reseller_service_user_count_report;
pub(super) mod get_service;
pub(super) mod get_service_usage;
pub(super) mod get_service_user_usage;
pub(super) mod get_service_users_usage;
pub(super) mod get_services_usage;
mod owner;
pub(super) mod ping;
pub(super) mod search_service_status_changes;
pub(super) mod search_services;
mod user_count_report;
mod users_of;
