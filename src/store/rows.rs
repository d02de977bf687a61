//! Writing ServiceUsage rows: what changed, with revision and state (`spec/usage.md`).

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use foldhash::fast::FixedState;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};
use uuid::Uuid;

use super::batch::{Insert, joined};
use super::{Lease, Result, Store, StoreError, text_of};
use crate::model::{Day, IdentityHash, Instant, Numbers, PeriodType, RowState};
use crate::rollup::DraftRow;

/// The rows of one service that are to be written, and how far it has come with them.
#[derive(Debug)]
pub struct ServiceRows {
    pub service: Uuid,
    pub first_day: Option<Day>,
    /// Whether there are rows that lie before the first day.
    pub begins_later: bool,
    /// By type and period, so that they are written in order.
    pub rows: Vec<(DraftRow, RowFate)>,
}

/// What makes a row's revision and state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowFate {
    pub revision: i64,
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
            // By the primary key: the services are few against all rows.
            sqlx::query(
                "UPDATE service_usage SET state = CASE WHEN closes_at <= $1 THEN 'closed' ELSE 'settling' END
                 WHERE service_guid IN (SELECT lower(hex(service_guid)) FROM service_progress)
                     AND period_type = $2 AND period = $3
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

    /// Writes drawn rows, which reach `today` now, and that these services are done: all or none.
    ///
    /// # Errors
    /// When the lease is lost or the database fails; then nothing of it is stored.
    pub async fn commit_rows(
        &self,
        lease: &Lease,
        services: &[ServiceRows],
        today: Day,
        now: Instant,
    ) -> Result<RowsWritten> {
        let mut transaction = self.begin_leased(lease).await?;
        let connection = &mut *transaction;
        let mut written = 0;
        for service in services.iter().filter(|service| service.begins_later) {
            written += remove_before(connection, service.service, service.first_day).await?;
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
        transaction.commit().await?;
        Ok(written)
    }
}

pub(super) fn numbers(row: &SqliteRow) -> Result<Numbers> {
    let mut numbers = Numbers::default();
    for (number, column) in numbers.0.iter_mut().zip(Numbers::COLUMNS) {
        *number = row.try_get(column)?;
    }
    Ok(numbers)
}

pub(super) fn digest(row: &SqliteRow) -> Result<IdentityHash> {
    let bytes: &[u8] = row.try_get("input_digest")?;
    Ok(IdentityHash(u128::from_be_bytes(bytes.try_into().map_err(StoreError::inconsistent)?)))
}

pub(super) fn state(row: &SqliteRow) -> Result<RowState> {
    let name: &str = row.try_get("state")?;
    RowState::from_name(name).ok_or_else(|| StoreError::inconsistent(format!("the state {name}")))
}

/// Removes the rows before a service's first day: all, where nothing counts any more.
async fn remove_before(connection: &mut SqliteConnection, service: Uuid, first_day: Option<Day>) -> Result<u64> {
    let period = |period_type: PeriodType| {
        first_day.map_or_else(|| "9999-12-31".to_owned(), |day| period_type.period_of(day).to_string())
    };
    let removed = sqlx::query(
        "DELETE FROM service_usage
         WHERE service_guid = $1 AND (period_type = 'Daily' AND period < $2 OR period_type = 'Monthly' AND period < $3)",
    )
    .bind(service.simple().to_string())
    .bind(period(PeriodType::Daily))
    .bind(period(PeriodType::Monthly))
    .execute(connection)
    .await?;
    Ok(removed.rows_affected())
}

/// One text for many rows.
struct Texts<K>(HashMap<K, Arc<str>, FixedState>);

impl<K: Copy + Eq + Hash> Texts<K> {
    fn of(&mut self, key: K, text: impl Fn(K) -> String) -> Arc<str> {
        self.0.entry(key).or_insert_with(|| text(key).into()).clone()
    }
}

static ROWS: Insert = Insert::new(
    "INSERT INTO service_usage (service_guid, period_type, period, total_user_count, pro_user_count,
        guest_user_count, disabled_user_count, unregistered_user_count, feature_usage_secure_messaging_gateway,
        feature_usage_secure_messaging_plus, feature_usage_data_leak_prevention, feature_usage_secure_large_files,
        feature_usage_secure_forms, total_message_count, total_attachment_count, attachment_storage_usage, event_count,
        input_digest, clamped, revision, state, computed_at, closes_at)",
    23,
    "ON CONFLICT DO UPDATE SET total_user_count = excluded.total_user_count,
        pro_user_count = excluded.pro_user_count, guest_user_count = excluded.guest_user_count,
        disabled_user_count = excluded.disabled_user_count, unregistered_user_count = excluded.unregistered_user_count,
        feature_usage_secure_messaging_gateway = excluded.feature_usage_secure_messaging_gateway,
        feature_usage_secure_messaging_plus = excluded.feature_usage_secure_messaging_plus,
        feature_usage_data_leak_prevention = excluded.feature_usage_data_leak_prevention,
        feature_usage_secure_large_files = excluded.feature_usage_secure_large_files,
        feature_usage_secure_forms = excluded.feature_usage_secure_forms,
        total_message_count = excluded.total_message_count, total_attachment_count = excluded.total_attachment_count,
        attachment_storage_usage = excluded.attachment_storage_usage, event_count = excluded.event_count,
        input_digest = excluded.input_digest, clamped = excluded.clamped, revision = excluded.revision,
        state = excluded.state, computed_at = excluded.computed_at, closes_at = excluded.closes_at",
);

async fn upsert_rows(connection: &mut SqliteConnection, services: &[ServiceRows], now: Instant) -> Result<RowsWritten> {
    let of_service = |service: &'_ ServiceRows| -> Vec<(Arc<str>, DraftRow, RowFate)> {
        let guid: Arc<str> = service.service.simple().to_string().into();
        service.rows.iter().map(|(draft, fate)| (guid.clone(), *draft, *fate)).collect()
    };
    let rows: Vec<(Arc<str>, DraftRow, RowFate)> = services.iter().flat_map(of_service).collect();
    let computed_at: Arc<str> = text_of(now).into();
    let mut names = Texts(HashMap::default());
    let mut periods = Texts(HashMap::default());
    let mut instants = Texts(HashMap::default());
    ROWS.all(connection, &rows, |values, (service, draft, fate)| {
        values
            .push(service.clone())
            .push(names.of(draft.period_type.name(), str::to_owned))
            .push(periods.of(draft.period, |day| day.to_string()));
        for number in draft.numbers.0 {
            values.push(number);
        }
        values
            .push(draft.event_count)
            .push(draft.input_digest.0.to_be_bytes().as_slice())
            .push(draft.clamped)
            .push(fate.revision)
            .push(names.of(fate.state.name(), str::to_owned))
            .push(computed_at.clone())
            .push(instants.of(fate.closes_at, text_of));
    })
    .await?;
    Ok(rows.len() as u64)
}

/// Notes when these rows will change their state by themselves.
async fn note_changes(connection: &mut SqliteConnection, services: &[ServiceRows]) -> Result<()> {
    static CHANGES: Insert =
        Insert::new("INSERT INTO state_changes (due_at, period_type, period)", 3, "ON CONFLICT DO NOTHING");
    let mut changes: BTreeSet<(Instant, PeriodType, Day)> = BTreeSet::new();
    let mut last = None;
    for (draft, fate) in services.iter().flat_map(|service| &service.rows) {
        let this = (fate.state, fate.end, fate.closes_at, draft.period_type, draft.period);
        if last.replace(this) == Some(this) {
            continue;
        }
        if fate.state == RowState::Open {
            changes.insert((fate.end, draft.period_type, draft.period));
        }
        if matches!(fate.state, RowState::Open | RowState::Settling) {
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
