//! Writing ServiceUsage rows: what changed, with revision and state (`spec/usage.md`).

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use foldhash::fast::FixedState;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::batch::{Insert, joined};
use super::{Lease, Result, Store, text_of};
use crate::model::{Day, Instant, PeriodType, RowState};
use crate::rollup::DraftRow;

/// What the rows of one service must be.
#[derive(Debug)]
pub struct ServiceRows {
    pub service: Uuid,
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

/// How many rows a commit wrote, new, changed and removed ones together.
pub type RowsWritten = u64;

impl Store {
    /// Moves rows on whose period has ended, or which have settled (`spec/usage.md`, states). `today` is the current day of
    /// the reporting zone.
    ///
    /// # Errors
    /// When the lease is lost or the database fails.
    pub async fn advance_states(&self, lease: &Lease, today: Day, now: Instant) -> Result<()> {
        let mut transaction = self.begin_leased(lease).await?;
        let now = text_of(now);
        let due: Vec<(String, String)> =
            sqlx::query_as("SELECT DISTINCT period_type, period FROM state_changes WHERE due_at <= $1")
                .bind(&now)
                .fetch_all(&mut *transaction)
                .await?;
        for (period_type, period) in due {
            sqlx::query(
                "UPDATE service_usage SET state = CASE WHEN closes_at <= $1 THEN 'closed' ELSE 'settling' END
                 WHERE period_type = $2 AND period = $3
                     AND (state IN ('open', 'settling') AND closes_at <= $1
                         OR state = 'open' AND period < CASE period_type WHEN 'Daily' THEN $4 ELSE $5 END)",
            )
            .bind(&now)
            .bind(period_type)
            .bind(period)
            .bind(today.to_string())
            .bind(today.month().to_string())
            .execute(&mut *transaction)
            .await?;
        }
        sqlx::query("DELETE FROM state_changes WHERE due_at <= $1").bind(&now).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
    }
}

/// Holds drawn rows, which reach `today`, against those that are stored, writes what differs, and that these services are
/// done.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    services: &[ServiceRows],
    today: Day,
    now: Instant,
) -> Result<RowsWritten> {
    let mut written = 0;
    for service in services {
        written += remove(connection, service).await?;
    }
    written += upsert_rows(connection, services, now).await?;
    note_changes(connection, services).await?;
    sqlx::query(
        "WITH RECURSIVE wanted (at) AS (SELECT 1 UNION ALL SELECT at + 16 FROM wanted WHERE at + 16 < length($1))
         UPDATE service_progress SET rows_from = CASE WHEN first_day <= $2 THEN first_day END,
             rows_through = CASE WHEN first_day <= $2 THEN $2 END, dirty_from = NULL
         WHERE service_guid IN (SELECT substr($1, at, 16) FROM wanted)",
    )
    .bind(joined(services.iter().map(|service| &service.service)))
    .bind(today.0)
    .execute(connection)
    .await?;
    Ok(written)
}

async fn remove(connection: &mut SqliteConnection, service: &ServiceRows) -> Result<u64> {
    let mut removed = 0;
    for (period_type, period) in &service.gone {
        let done =
            sqlx::query("DELETE FROM service_usage WHERE period_type = $1 AND period = $2 AND service_guid = $3")
                .bind(period_type.name())
                .bind(period.to_string())
                .bind(service.service.simple().to_string())
                .execute(&mut *connection)
                .await?;
        removed += done.rows_affected();
    }
    Ok(removed)
}

/// One text for many rows.
struct Texts<K>(HashMap<K, Arc<str>, FixedState>);

impl<K: Copy + Eq + Hash> Texts<K> {
    fn of(&mut self, key: K, text: impl Fn(K) -> String) -> Arc<str> {
        self.0.entry(key).or_insert_with(|| text(key).into()).clone()
    }
}

/// A row that is stored is held against the new one here, so that it need not be read: one that is the same is left alone, a
/// revision grows only when one of the 13 numbers changes, and all else is updated in place. What is stored of `open` and
/// `settling` is as old as the last rollup (`spec/usage.md`, states).
static ROWS: Insert = Insert::new(
    "INSERT INTO service_usage (period_type, period, service_guid, total_user_count, pro_user_count,
        guest_user_count, disabled_user_count, unregistered_user_count, feature_usage_secure_messaging_gateway,
        feature_usage_secure_messaging_plus, feature_usage_data_leak_prevention, feature_usage_secure_large_files,
        feature_usage_secure_forms, total_message_count, total_attachment_count, attachment_storage_usage, event_count,
        input_digest, clamped, revision, state, computed_at, closes_at)",
    23,
    "ON CONFLICT DO UPDATE SET
        total_user_count = excluded.total_user_count, pro_user_count = excluded.pro_user_count, guest_user_count =
        excluded.guest_user_count, disabled_user_count = excluded.disabled_user_count, unregistered_user_count =
        excluded.unregistered_user_count, feature_usage_secure_messaging_gateway =
        excluded.feature_usage_secure_messaging_gateway, feature_usage_secure_messaging_plus =
        excluded.feature_usage_secure_messaging_plus, feature_usage_data_leak_prevention =
        excluded.feature_usage_data_leak_prevention, feature_usage_secure_large_files =
        excluded.feature_usage_secure_large_files, feature_usage_secure_forms = excluded.feature_usage_secure_forms,
        total_message_count = excluded.total_message_count, total_attachment_count = excluded.total_attachment_count,
        attachment_storage_usage = excluded.attachment_storage_usage, event_count = excluded.event_count, input_digest
        = excluded.input_digest, clamped = excluded.clamped, computed_at = excluded.computed_at,
        revision = revision + (
            (total_user_count, pro_user_count, guest_user_count, disabled_user_count, unregistered_user_count,
            feature_usage_secure_messaging_gateway, feature_usage_secure_messaging_plus,
            feature_usage_data_leak_prevention, feature_usage_secure_large_files, feature_usage_secure_forms,
            total_message_count, total_attachment_count, attachment_storage_usage)
            <> (excluded.total_user_count, excluded.pro_user_count, excluded.guest_user_count,
            excluded.disabled_user_count, excluded.unregistered_user_count,
            excluded.feature_usage_secure_messaging_gateway, excluded.feature_usage_secure_messaging_plus,
            excluded.feature_usage_data_leak_prevention, excluded.feature_usage_secure_large_files,
            excluded.feature_usage_secure_forms, excluded.total_message_count, excluded.total_attachment_count,
            excluded.attachment_storage_usage)),
        state = CASE
            WHEN state IN ('open', 'settling') AND excluded.state = 'open' THEN 'open'
            WHEN state IN ('open', 'settling') AND closes_at > excluded.computed_at THEN 'settling'
            WHEN (total_user_count, pro_user_count, guest_user_count, disabled_user_count, unregistered_user_count,
            feature_usage_secure_messaging_gateway, feature_usage_secure_messaging_plus,
            feature_usage_data_leak_prevention, feature_usage_secure_large_files, feature_usage_secure_forms,
            total_message_count, total_attachment_count, attachment_storage_usage)
                <> (excluded.total_user_count, excluded.pro_user_count, excluded.guest_user_count,
            excluded.disabled_user_count, excluded.unregistered_user_count,
            excluded.feature_usage_secure_messaging_gateway, excluded.feature_usage_secure_messaging_plus,
            excluded.feature_usage_data_leak_prevention, excluded.feature_usage_secure_large_files,
            excluded.feature_usage_secure_forms, excluded.total_message_count, excluded.total_attachment_count,
            excluded.attachment_storage_usage) THEN 'restated'
            WHEN state = 'restated' THEN 'restated'
            ELSE 'closed' END
     WHERE (total_user_count, pro_user_count, guest_user_count, disabled_user_count, unregistered_user_count,
            feature_usage_secure_messaging_gateway, feature_usage_secure_messaging_plus,
            feature_usage_data_leak_prevention, feature_usage_secure_large_files, feature_usage_secure_forms,
            total_message_count, total_attachment_count, attachment_storage_usage, event_count, input_digest, clamped)
        <> (excluded.total_user_count, excluded.pro_user_count, excluded.guest_user_count,
            excluded.disabled_user_count, excluded.unregistered_user_count,
            excluded.feature_usage_secure_messaging_gateway, excluded.feature_usage_secure_messaging_plus,
            excluded.feature_usage_data_leak_prevention, excluded.feature_usage_secure_large_files,
            excluded.feature_usage_secure_forms, excluded.total_message_count, excluded.total_attachment_count,
            excluded.attachment_storage_usage, excluded.event_count, excluded.input_digest, excluded.clamped)",
);

async fn upsert_rows(connection: &mut SqliteConnection, services: &[ServiceRows], now: Instant) -> Result<RowsWritten> {
    let guids: Vec<Arc<str>> = services.iter().map(|service| service.service.simple().to_string().into()).collect();
    let mut rows: Vec<(&(DraftRow, RowFate), &Arc<str>)> = Vec::new();
    for (service, guid) in services.iter().zip(&guids) {
        rows.extend(service.rows.iter().map(|row| (row, guid)));
    }
    rows.sort_by_key(|((draft, _), _)| (draft.period_type, draft.period));
    let computed_at: Arc<str> = text_of(now).into();
    let mut names = Texts(HashMap::default());
    let mut periods = Texts(HashMap::default());
    let mut instants = Texts(HashMap::default());
    ROWS.counted(connection, &rows, |values, ((draft, fate), service)| {
        values
            .push(names.of(draft.period_type.name(), str::to_owned))
            .push(periods.of(draft.period, |day| day.to_string()))
            .push(Arc::clone(service));
        for number in draft.numbers.0 {
            values.push(number);
        }
        values
            .push(draft.event_count)
            .push(draft.input_digest.0.to_be_bytes().as_slice())
            .push(draft.clamped)
            .push(1)
            .push(names.of(fate.state.name(), str::to_owned))
            .push(computed_at.clone())
            .push(instants.of(fate.closes_at, text_of));
    })
    .await
}

/// Notes when these rows will change their state by themselves.
async fn note_changes(connection: &mut SqliteConnection, services: &[ServiceRows]) -> Result<()> {
    static CHANGES: Insert =
        Insert::new("INSERT INTO state_changes (due_at, period_type, period)", 3, "ON CONFLICT DO NOTHING");
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
        .all(connection, &changes, |values, (due_at, period_type, period)| {
            values.push(text_of(*due_at)).push(period_type.name()).push(period.to_string());
        })
        .await
}
