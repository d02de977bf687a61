//! All tables that hold data, from which copying a store reads and writes. A copy begins with holding this against the
//! schemas of both databases, so a column can't be forgotten here.

use std::sync::LazyLock;

use super::db::Insert;
use super::db::Kind::{self, AnyText, Bytes, Day, Flag, Guid, Instant, Integer, ShownGuid, Text};
use crate::model::Numbers;

/// A table, and the statements that are made from its description.
pub(super) struct Table {
    pub name: &'static str,
    pub columns: Vec<(&'static str, Kind)>,
    pub insert: Insert,
    pub rows: String,
    pub count: String,
    pub any: String,
}

impl Table {
    fn new(name: &'static str, key: &str, columns: &[(&'static str, Kind)]) -> Self {
        let names: Vec<&'static str> = columns.iter().map(|(name, _)| *name).collect();
        Self {
            name,
            columns: columns.to_vec(),
            // In the order in which SQLite keeps them, so that it appends.
            rows: format!("SELECT {} FROM {name} ORDER BY {key}", names.join(", ")),
            count: format!("SELECT count(*) FROM {name}"),
            any: format!("SELECT 1 FROM {name} LIMIT 1"),
            insert: Insert::made(name, &[], names, String::new()),
        }
    }
}

/// Who writes is no data: the copy's own numbers go on from both stores'.
pub(super) const LEASE: &str = "lease";
const SETTINGS: &str = "settings";
const JOB_RUNS: &str = "job_runs";
/// The settings of a store without data, and what jobs have run on it.
pub(super) const DECIDES_NOTHING: [&str; 2] = [SETTINGS, JOB_RUNS];

/// In an order in which each row comes after those that it refers to.
pub(super) static TABLES: LazyLock<Vec<Table>> =
    LazyLock::new(|| [ingested(), facts(), shown(), history()].into_iter().flatten().collect());

fn ingested() -> Vec<Table> {
    let inputs = [
        ("id", Integer),
        ("name", Text),
        ("kind", Text),
        ("state", Text),
        ("signature", Text),
        ("next_offset", Integer),
        ("next_line", Integer),
        ("lines", Integer),
        ("accepted", Integer),
        ("rejected", Integer),
        ("duplicate", Integer),
        ("voided", Integer),
        ("conflicting", Integer),
        ("changed_at", Instant),
        ("run_ended", Flag),
    ];
    let segments = [
        ("id", Guid),
        ("path", Text),
        ("rows", Integer),
        ("bytes", Integer),
        ("hash", Bytes),
        ("end_at", Integer),
        ("end_hash", Bytes),
        ("created_at", Instant),
    ];
    let partitions = [("day", Day), ("segment_id", Guid), ("first_row", Integer), ("rows", Integer), ("bare", Flag)];
    let discarded = [("segment_id", Guid), ("path", Text)];
    let dead_letters = [
        ("id", Integer),
        ("input_id", Integer),
        ("line", Integer),
        ("byte_offset", Integer),
        ("reason", Text),
        ("member", AnyText),
        ("detail", AnyText),
        ("content", Bytes),
        ("length", Integer),
        ("hash", Bytes),
        ("rejected_at", Instant),
    ];
    let voids =
        [("target_day", Day), ("service_guid", Guid), ("target_time", Integer), ("source", AnyText), ("id", AnyText)];
    vec![
        Table::new(SETTINGS, "name", &[("name", Text), ("value", Text)]),
        Table::new("inputs", "id", &inputs),
        Table::new("segments", "id", &segments),
        Table::new("segment_partitions", "day, segment_id", &partitions),
        Table::new("discarded_segments", "segment_id", &discarded),
        Table::new("dead_letters", "id", &dead_letters),
        Table::new("voids", "target_day, service_guid, target_time, source, id", &voids),
    ]
}

fn facts() -> Vec<Table> {
    let progress = [
        ("service_guid", Guid),
        ("first_day", Day),
        ("held", Bytes),
        ("newest_span", Bytes),
        ("recent_users", Bytes),
        ("rows_from", Day),
        ("rows_through", Day),
        ("dirty_from", Day),
        ("dirty_reason", Integer),
    ];
    let spans = [("span", Day), ("service_guid", Guid), ("facts", Bytes)];
    let users = [("service_guid", Guid), ("user_guid", Guid), ("history", Bytes)];
    vec![
        // The mark of a whole day has no GUID.
        Table::new(
            "dirty_partitions",
            "day, service_guid",
            &[("day", Day), ("service_guid", Bytes), ("by_backfill", Flag)],
        ),
        Table::new("service_spans", "span, service_guid", &spans),
        Table::new("users", "service_guid, user_guid", &users),
        Table::new("service_progress", "service_guid", &progress),
    ]
}

/// What the API and readers see, and who they are.
fn shown() -> Vec<Table> {
    let patches = [("service_guid", Guid), ("day", Day), ("position", Integer), ("time", Integer), ("patch", Text)];
    let entries = [
        ("service_guid", Guid),
        ("status", Text),
        ("created_on", Text),
        ("reseller_guid", Guid),
        ("partner_guid", Guid),
        ("document", Text),
    ];
    let changes = [("due_at", Instant), ("period_type", Text), ("period", Text)];
    let closings = [("period_type", Text), ("period", Text), ("closes_at", Instant)];
    let keys = [
        ("id", Text),
        ("name", Text),
        ("role", Text),
        ("scope", Guid),
        ("key_hash", Bytes),
        ("created_at", Instant),
        ("expires_at", Instant),
        ("revoked_at", Instant),
    ];
    vec![
        Table::new("service_patches", "service_guid, day, position", &patches),
        Table::new("service_entries", "service_guid", &entries),
        Table::new("service_usage", "period_type, period, service_guid", &usage_row()),
        Table::new("state_changes", "due_at, period_type, period", &changes),
        Table::new("first_closings", "period_type, period", &closings),
        Table::new("api_keys", "id", &keys),
    ]
}

const ROW_KEY: [(&str, Kind); 3] = [("service_guid", ShownGuid), ("period_type", Text), ("period", Text)];

fn numbers() -> [(&'static str, Kind); 13] {
    Numbers::COLUMNS.map(|column| (column, Integer))
}

fn usage_row() -> Vec<(&'static str, Kind)> {
    let of_row = [
        ("event_count", Integer),
        ("input_digest", Bytes),
        ("clamped", Flag),
        ("revision", Integer),
        ("state", Text),
        ("computed_at", Instant),
        ("closes_at", Instant),
        ("since", Integer),
    ];
    [ROW_KEY.as_slice(), &numbers(), &of_row].concat()
}

/// What rows were, months that are locked, who was erased, and what jobs have run.
fn history() -> Vec<Table> {
    let replaced = [("until", Integer), ("replaced_at", Instant), ("reason", Text), ("run", Integer)];
    let tombstones = [
        ("service_guid", Guid),
        ("period_type", Text),
        ("period", Text),
        ("revision", Integer),
        ("closes_at", Instant),
        ("since", Integer),
    ];
    let locks = [
        ("month", Text),
        ("locked_commit", Integer),
        ("locked_at", Instant),
        ("unlocked_commit", Integer),
        ("unlocked_at", Instant),
    ];
    let held_back = [("gone", Flag)];
    let of_pending = [("event_count", Integer), ("input_digest", Bytes), ("clamped", Flag), ("reason", Integer)];
    let pending = [[("month", Text)].as_slice(), &ROW_KEY, &held_back, &numbers(), &of_pending].concat();
    let runs = [
        ("id", Integer),
        ("job", Text),
        ("started_at", Instant),
        ("ended_at", Instant),
        ("outcome", Text),
        ("period", Instant),
        ("attempt", Integer),
        ("counts", Text),
        ("error", Text),
    ];
    vec![
        Table::new(
            "usage_history",
            "service_guid, period_type, period, until",
            &[usage_row().as_slice(), &replaced].concat(),
        ),
        Table::new("usage_tombstones", "service_guid, period_type, period", &tombstones),
        Table::new("row_commits", "at", &[("at", Integer), ("number", Integer)]),
        Table::new("period_locks", "month, locked_commit", &locks),
        Table::new("usage_pending", "month, service_guid, period_type, period", &pending),
        Table::new("erased_users", "user_guid", &[("user_guid", Guid), ("begun_at", Instant), ("ended_at", Instant)]),
        Table::new("erased_emails", "hash", &[("hash", Bytes)]),
        Table::new("content_orders", "day, key", &[("day", Day), ("key", Bytes), ("rank", Integer)]),
        Table::new(JOB_RUNS, "id", &runs),
    ]
}
