//! The specification as tests: through the engine as a library, and through the real binary.

#![expect(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in tests, but does not see that these helpers belong to some"
)]

mod across;
mod api;
mod api_access;
mod api_formats;
mod api_lists;
mod api_reports;
mod api_surface;
mod api_users;
mod audit;
mod audit_damage;
mod audit_laws;
mod away;
mod backup;
mod backup_kills;
mod books;
mod commands;
mod compaction;
mod contents;
mod copy;
mod crash;
mod daemon;
mod decode_differential;
mod decode_mutation;
mod disk_full;
mod erasure;
mod erasure_files;
mod events;
mod failpoints;
mod frozen;
mod golden;
mod history;
mod journal;
mod laws;
mod months;
mod observe;
mod oracle;
mod oracle_json;
mod oracle_line;
mod orphans;
mod plans;
mod power_loss;
mod proxy;
mod random_events;
mod random_spelling;
mod restarts;
mod retention;
mod rooms;
mod schedules;
mod server;
mod spool;
mod status;
mod store;
mod stores;
mod support;
mod systemd;
mod user_usage;
