//! usage-rollup turns the usage events of a multi-tenant messaging platform into daily and monthly rows.

pub mod clock;
pub mod config;
mod durable;
pub mod failpoint;
mod meters;
pub mod model;
pub mod telemetry;

pub mod audit;
pub mod event_log;
pub mod generate;
pub mod ingest;
pub mod jobs;
pub mod observe;
pub mod rollup;
pub mod store;
pub mod usage;

pub mod api;
pub mod cli;
pub mod daemon;
