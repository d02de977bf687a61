//! The integration tests: one binary, a file a subject.

mod golden;
mod laws;
mod support;

mod oracle;
mod oracle_json;
mod oracle_line;
mod random_events;
mod random_spelling;
