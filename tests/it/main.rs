//! The specification as tests: through the engine as a library, and through the real binary.

mod api;
mod commands;
mod crash;
mod golden;
mod laws;
mod oracle;
mod oracle_json;
mod oracle_line;
mod random_events;
mod random_spelling;
mod support;
