//! Writing ServiceUsage rows: what changed, with revision and state (`spec/usage.md`).

use std::collections::BTreeSet;
use std::sync::LazyLock;

use uuid::Uuid;

use super::db::{Insert, Shown, Transaction, Values};
use super::history::{Tombstone, Tombstones};
use super::{Lease, Result, Store, closings, history, locks};
use crate::failpoint::Point;
use crate::model::{Day, Instant, Numbers, PeriodType, Reason, RowState};
use crate::rollup::DraftRow;

/// What the rows of one service must be.
#[derive(Debug)]
pub struct ServiceRows {
    pub service: Uuid,
    /// The first and the last day that have a row now.
    pub stored: Option<(Day, Day)>,
    /// Why those that are closed change.
    pub reason: Reason,
    /// Rows that are stored and must not be any more.
    pub gone: Vec<(PeriodType, Day)>,
    pub rows: Vec<(DraftRow, RowFate)>,
}

/// What a row begins with. One that is stored already keeps its `closes_at`, and goes on from its revision and state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowFate {
    /// Whether nothing is stored for this period.
    pub is_new: bool,
    pub state: RowState,
    /// The first instant after the row's period.
    pub end: Instant,
    pub closes_at: Instant,
}

/// Which commit writes rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowCommit {
    pub number: i64,
    /// The job that commits.
    pub run: i64,
    /// As near to the commit itself as can be: rows that have closed by then are kept as they were.
    pub at: Instant,
}

/// How many rows a commit wrote, new, changed and removed ones together.
pub type RowsWritten = u64;

/// The rows of one period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeriodRows {
    pub rows: u64,
    /// Those that have not settled yet, such as those that a backlog has just brought.
    pub unsettled: u64,
}

impl Store {
    /// How many rows a period has, and how many of them are not closed at an instant.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn period_rows(&self, period_type: PeriodType, period: Day, now: Instant) -> Result<PeriodRows> {
        let rows = self.db.exports.sql(
            "SELECT count(*) AS rows,
                 count(CASE WHEN state IN ('open', 'settling') AND closes_at > $3 THEN 1 END) AS unsettled
             FROM service_usage WHERE period_type = $1 AND period = $2",
        );
        let row = rows.bind(period_type.name()).bind(period.to_string()).bind(now).one().await?;
        Ok(PeriodRows { rows: row.unsigned("rows")?, unsettled: row.unsigned("unsettled")? })
    }

    /// Moves rows on whose period has ended, or which have settled (`spec/usage.md`, states). `today` is the current day of
    /// the reporting zone.
    ///
    /// # Errors
    /// When the lease is lost or the database fails.
    pub async fn advance_states(&self, lease: &Lease, today: Day, now: Instant) -> Result<()> {
        let mut transaction = self.begin_leased(lease).await?;
        let due = "SELECT DISTINCT period_type, period FROM state_changes WHERE due_at <= $1";
        for row in transaction.sql(due).bind(now).all().await? {
            let advance = transaction.sql(
                "UPDATE service_usage SET state = CASE WHEN closes_at <= $1 THEN 'closed' ELSE 'settling' END
                 WHERE period_type = $2 AND period = $3
                     AND (state IN ('open', 'settling') AND closes_at <= $1
                         OR state = 'open' AND period < CASE period_type WHEN 'Daily' THEN $4 ELSE $5 END)",
            );
            let advance = advance.bind(now).bind(row.get::<&str>("period_type")?).bind(row.get::<&str>("period")?);
            advance.bind(today.to_string()).bind(today.month().to_string()).execute().await?;
        }
        transaction.sql("DELETE FROM state_changes WHERE due_at <= $1").bind(now).execute().await?;
        closings::pass(&mut transaction, now).await?;
        transaction.commit_at(Point::StatesReady).await
    }
}

/// Holds drawn rows against those that are stored, and writes what differs. What differs in locked months is kept as pending.
pub(super) async fn write(
    transaction: &mut Transaction,
    services: &[ServiceRows],
    commit: RowCommit,
) -> Result<RowsWritten> {
    if services.is_empty() {
        return Ok(0);
    }
    let locked = locks::locked_months(transaction).await?;
    locks::hold_back(transaction, services, &locked).await?;
    replace(transaction, services, &locked, commit).await
}

/// Writes what differs outside of these months, and what it was before where that was closed.
pub(super) async fn replace(
    transaction: &mut Transaction,
    services: &[ServiceRows],
    except: &BTreeSet<Day>,
    commit: RowCommit,
) -> Result<RowsWritten> {
    let mut written = 0;
    for service in services {
        written += history::remove(transaction, service, except, commit).await?;
    }
    let tombstones = history::tombstones(transaction, services).await?;
    let guids: Vec<Shown<Uuid>> = services.iter().map(|service| Shown::from(service.service)).collect();
    let mut rows: Vec<RowToWrite> = Vec::new();
    for (service, guid) in services.iter().zip(&guids) {
        let drawn = service.rows.iter().filter(|(draft, _)| !except.contains(&draft.period.month()));
        rows.extend(drawn.map(|(draft, fate)| RowToWrite::new(draft, *fate, guid, service.reason, &tombstones)));
    }
    rows.sort_by_key(|row| (row.draft.period_type, row.draft.period));
    history::save_replaced(transaction, &rows, commit).await?;
    history::note_new(transaction, services, &rows, &tombstones, commit).await?;
    written += upsert_rows(transaction, &rows, commit).await?;
    note_changes(transaction, services).await?;
    closings::note(transaction, &rows).await?;
    Ok(written)
}

/// A row on its way.
pub(super) struct RowToWrite<'a> {
    pub draft: &'a DraftRow,
    pub fate: RowFate,
    pub service: &'a Shown<Uuid>,
    pub reason: Reason,
    /// What it has if it is new.
    pub revision: i64,
}

impl<'a> RowToWrite<'a> {
    fn new(
        draft: &'a DraftRow,
        fate: RowFate,
        service: &'a Shown<Uuid>,
        reason: Reason,
        tombstones: &Tombstones,
    ) -> Self {
        let first = Self { draft, fate, service, reason, revision: 1 };
        match tombstones.get(&(service.value, draft.period_type, draft.period)).filter(|_| fate.is_new) {
            None => first,
            // It was closed before it went, so that it is here again restates it.
            Some(Tombstone { revision, closes_at, .. }) => {
                let fate = RowFate { state: RowState::Restated, closes_at: *closes_at, ..fate };
                Self { fate, revision: revision + 1, ..first }
            }
        }
    }
}

/// A row that is stored is held against the new one here, so that it need not be read: one that is the same is left alone, a
/// revision grows only when one of the 13 numbers changes, and all else is updated in place. What is stored of `open` and
/// `settling` is as old as the last rollup (`spec/usage.md`, states).
static ROWS: LazyLock<Insert> = LazyLock::new(|| {
    // Comparing ends at the first difference. It lies among the last numbers: each message and attachment changes them.
    let mut numbers = Numbers::COLUMNS;
    numbers.reverse();
    let held_against = include_str!("rows.sql")
        .replace("{numbers}", &numbers.join(", "))
        .replace("{stored.numbers}", &columns_of("stored", numbers))
        .replace("{excluded.numbers}", &columns_of("excluded", numbers));
    let columns =
        [["service_guid"].as_slice(), &Numbers::COLUMNS, &["event_count", "input_digest", "clamped"]].concat();
    let shared = &["period_type", "period", "revision", "state", "computed_at", "closes_at", "since"];
    Insert::made("service_usage AS stored", shared, columns, held_against)
});

/// The 13 numbers of a table's row.
pub(super) fn numbers_of(row: &str) -> String {
    columns_of(row, Numbers::COLUMNS)
}

fn columns_of<const COUNT: usize>(row: &str, columns: [&str; COUNT]) -> String {
    columns.map(|column| format!("{row}.{column}")).join(", ")
}

async fn upsert_rows(transaction: &mut Transaction, rows: &[RowToWrite<'_>], commit: RowCommit) -> Result<RowsWritten> {
    let shared = |RowToWrite { draft, fate, revision, .. }: &RowToWrite| {
        (draft.period_type, draft.period, fate.state, fate.closes_at, *revision)
    };
    let groups = rows.chunk_by(|a, b| shared(a) == shared(b));
    let bind_shared = |values: &mut Values, RowToWrite { draft, fate, revision, .. }: &RowToWrite| {
        let (period_type, period, state) = (draft.period_type.name(), draft.period.to_string(), fate.state.name());
        values.push(period_type).push(period).push(*revision).push(state);
        values.push(Shown::from(commit.at)).push(Shown::from(fate.closes_at)).push(commit.number);
    };
    let bind = |values: &mut Values, row: &RowToWrite| {
        values.push(Shown::clone(row.service));
        push_draft(values, row.draft);
    };
    ROWS.groups(transaction, groups, bind_shared, bind).await
}

/// Adds the numbers of a row, and what they rest on.
pub(super) fn push_draft(values: &mut Values, draft: &DraftRow) {
    for number in draft.numbers.0 {
        values.push(number);
    }
    let digest = draft.input_digest.0.to_be_bytes();
    values.push(draft.event_count).push(digest.as_slice()).push(draft.clamped);
}

/// Notes when these rows will change their state by themselves.
async fn note_changes(transaction: &mut Transaction, services: &[ServiceRows]) -> Result<()> {
    static CHANGES: Insert =
        Insert::new("state_changes", &["due_at", "period_type", "period"], "ON CONFLICT DO NOTHING");
    let mut changes: BTreeSet<(Instant, PeriodType, Day)> = BTreeSet::new();
    let mut last = None;
    for (draft, fate) in services.iter().flat_map(|service| &service.rows) {
        let this = (fate.is_new, fate.state, fate.end, fate.closes_at, draft.period_type, draft.period);
        if last.replace(this) == Some(this) {
            continue;
        }
        if fate.state == RowState::Open {
            changes.insert((fate.end, draft.period_type, draft.period));
        }
        // A stored row that settles was noted when it was new, and closes when it was to close then.
        if fate.state == RowState::Open || fate.is_new && fate.state == RowState::Settling {
            changes.insert((fate.closes_at, draft.period_type, draft.period));
        }
    }
    let changes: Vec<(Instant, PeriodType, Day)> = changes.into_iter().collect();
    CHANGES
        .all(transaction, &changes, |values, (due_at, period_type, period)| {
            values.push(*due_at).push(period_type.name()).push(period.to_string());
        })
        .await
}
