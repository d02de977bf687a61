//! Months that are locked: their rows stay as they are, and what would have changed them is kept until they are unlocked.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use uuid::Uuid;

use super::db::{Insert, Row, Shown, Transaction, Values};
use super::rows::{RowCommit, numbers_of, push_draft};
use super::{Lease, Result, RowsWritten, ServiceRows, Store, StoreError, history, reach, rows};
use crate::clock::Clock;
use crate::failpoint::Point;
use crate::model::{Day, IdentityHash, Instant, Numbers, PeriodType, Reason};
use crate::rollup::DraftRow;

/// A month that is locked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedMonth {
    pub month: Day,
    pub locked_at: Instant,
    /// How many rows it would have otherwise than they are, and of how many services.
    pub pending_rows: i64,
    pub pending_services: i64,
}

/// What a row of a locked month would be.
#[derive(Clone, Debug)]
pub struct PendingRow {
    pub service: Uuid,
    pub draft: DraftRow,
    pub reason: Reason,
    /// Whether it would go.
    pub is_gone: bool,
    /// Whether there is none now.
    pub is_new: bool,
}

/// Rows of a month that are not closed yet, and when the last of them will be.
pub type Unclosed = Option<(i64, Instant)>;

const IN_MONTH: &str =
    "(period_type = 'Daily' AND period BETWEEN $1 AND $2 OR period_type = 'Monthly' AND period = $1)";

/// The months that are locked now, each by its first day.
pub(super) async fn locked_months(transaction: &mut Transaction) -> Result<BTreeSet<Day>> {
    let months = transaction.sql("SELECT month FROM period_locks WHERE unlocked_commit IS NULL").all().await?;
    months.iter().map(month_of).collect()
}

fn month_of(row: &Row) -> Result<Day> {
    row.parsed("month")
}

/// A drawn row of a locked month.
struct HeldBack<'a> {
    service: &'a Shown<Uuid>,
    reason: Reason,
    period_type: PeriodType,
    period: Day,
    /// None where the row would go.
    draft: Option<&'a DraftRow>,
}

/// Keeps what these services' rows of locked months would be, where that is not what they are, in the place of what it was
/// said to be before.
pub(super) async fn hold_back(
    transaction: &mut Transaction,
    services: &[ServiceRows],
    locked: &BTreeSet<Day>,
) -> Result<()> {
    static PENDING: LazyLock<Insert> = LazyLock::new(|| {
        let rest = ["event_count", "input_digest", "clamped"];
        let of = |row: &str| format!("{}, {row}.event_count, {row}.input_digest, {row}.clamped", numbers_of(row));
        let numbers = [Numbers::COLUMNS.as_slice(), &rest].concat();
        let statement = format!(
            "INSERT INTO usage_pending (month, service_guid, period_type, period, gone, reason, {})
             SELECT drawn.month, drawn.service_guid, drawn.period_type, drawn.period, drawn.gone, drawn.reason, {drawn}
             FROM {{rows}} AS drawn LEFT JOIN service_usage AS stored ON stored.period_type = drawn.period_type
                 AND stored.period = drawn.period AND stored.service_guid = drawn.service_guid
             WHERE CASE WHEN drawn.gone THEN stored.service_guid IS NOT NULL
                 ELSE stored.service_guid IS NULL OR ({}) <> ({drawn}) END",
            numbers.join(", "),
            of("stored"),
            drawn = of("drawn"),
        );
        let columns = [["service_guid", "reason"].as_slice(), &numbers].concat();
        Insert::of_rows(&["month", "period_type", "period", "gone"], columns, statement)
    });
    if locked.is_empty() {
        return Ok(());
    }
    let guids: Vec<Shown<Uuid>> = services.iter().map(|service| Shown::from(service.service)).collect();
    let mut rows = Vec::new();
    for (service, guid) in services.iter().zip(&guids) {
        let gone = service.gone.iter().map(|(period_type, period)| (*period_type, *period, None));
        let drawn = service.rows.iter().map(|(draft, _)| (draft.period_type, draft.period, Some(draft)));
        let mut of_service: Vec<HeldBack> = gone
            .chain(drawn)
            .filter(|(_, period, _)| locked.contains(&period.month()))
            .map(|(period_type, period, draft)| HeldBack {
                service: guid,
                reason: service.reason,
                period_type,
                period,
                draft,
            })
            .collect();
        of_service.sort_by_key(|row| row.period);
        for of_month in of_service.chunk_by_mut(|a, b| a.period.month() == b.period.month()) {
            forget(transaction, of_month).await?;
        }
        rows.append(&mut of_service);
    }
    let shared = |row: &HeldBack| (row.period_type, row.period, row.draft.is_none());
    rows.sort_by_key(shared);
    let bind_shared = |values: &mut Values, row: &HeldBack| {
        values.push(row.period.month().to_string()).push(row.period_type.name());
        values.push(row.period.to_string()).push(row.draft.is_none());
    };
    let bind = |values: &mut Values, row: &HeldBack| {
        values.push(Shown::clone(row.service)).push(row.reason.strength());
        let gone = || DraftRow::empty(row.period_type, row.period);
        match row.draft {
            Some(draft) => push_draft(values, draft),
            None => push_draft(values, &gone()),
        }
    };
    PENDING.groups(transaction, rows.chunk_by(|a, b| shared(a) == shared(b)), bind_shared, bind).await.map(|_| ())
}

/// Forgets what one service's rows of one month were to be, from the first day of these through the last; they take over the
/// reason. Behind these days nothing has changed, so what waits there goes on waiting.
async fn forget(transaction: &mut Transaction, rows: &mut [HeldBack<'_>]) -> Result<()> {
    let (month, guid) = (rows[0].period.month().to_string(), rows[0].service.clone());
    let strongest = "SELECT max(reason) FROM usage_pending WHERE month = $1 AND service_guid = $2";
    let strongest: Option<i64> = transaction.sql(strongest).bind(month.clone()).bind(guid.clone()).value().await?;
    let Some(strongest) = strongest else { return Ok(()) };
    let days = rows.iter().filter(|row| row.period_type == PeriodType::Daily).map(|row| row.period);
    let (first, last) = (days.clone().min(), days.max());
    let forget = transaction.sql(
        "DELETE FROM usage_pending WHERE month = $1 AND service_guid = $2
             AND (period_type = 'Monthly' OR period BETWEEN $3 AND $4)",
    );
    let bound = |day: Option<Day>| day.map_or_else(String::new, |day| day.to_string());
    forget.bind(month).bind(guid).bind(bound(first)).bind(bound(last)).execute().await?;
    let before = reason(strongest)?;
    for row in rows {
        row.reason = row.reason.max(before);
    }
    Ok(())
}

fn reason(strength: i64) -> Result<Reason> {
    Reason::from_strength(strength).ok_or_else(|| StoreError::inconsistent(format!("the reason {strength}")))
}

impl Store {
    /// The months that are locked, in order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn locked_months(&self) -> Result<Vec<LockedMonth>> {
        let months = self.db.readers.sql(
            "SELECT l.month, l.locked_at, count(p.month) AS pending_rows,
                 count(DISTINCT p.service_guid) AS pending_services
             FROM period_locks l LEFT JOIN usage_pending p ON p.month = l.month
             WHERE l.unlocked_commit IS NULL GROUP BY l.month, l.locked_at ORDER BY l.month",
        );
        let month = |row: &Row| {
            Ok(LockedMonth {
                month: month_of(row)?,
                locked_at: row.get("locked_at")?,
                pending_rows: row.get("pending_rows")?,
                pending_services: row.get("pending_services")?,
            })
        };
        months.all().await?.iter().map(month).collect()
    }

    /// Which rows of a month are not closed at this instant.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unclosed(&self, month: Day, now: Instant) -> Result<Unclosed> {
        static UNCLOSED: LazyLock<String> = LazyLock::new(|| {
            format!(
                "SELECT count(*) AS rows, max(closes_at) AS closes_at FROM service_usage
                 WHERE {IN_MONTH} AND state IN ('open', 'settling') AND closes_at > $3"
            )
        });
        let unclosed = self.db.writer.sql(UNCLOSED.as_str()).bind(month.to_string());
        let row = unclosed.bind(month.next_month().previous().to_string()).bind(now).one().await?;
        let closes_at: Option<Instant> = row.get("closes_at")?;
        row.get("rows").map(|rows| closes_at.map(|at| (rows, at)))
    }

    /// Locks a month, and tells whether it was not locked before.
    ///
    /// # Errors
    /// When the lease is lost or the database fails.
    pub async fn lock_month(&self, lease: &Lease, month: Day, clock: Clock) -> Result<bool> {
        let mut transaction = self.begin_leased(lease).await?;
        if locked_months(&mut transaction).await?.contains(&month) {
            return Ok(false);
        }
        let number = transaction.number();
        let lock = transaction.sql("INSERT INTO period_locks (month, locked_commit, locked_at) VALUES ($1, $2, $3)");
        lock.bind(month.to_string()).bind(number).bind(clock.now()).execute().await?;
        history::note_commit(&mut transaction, number, clock.now()).await?;
        transaction.commit_at(Point::LockReady).await?;
        reach(Point::Locked)?;
        Ok(true)
    }

    /// What is pending for a locked month, by service.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn pending_rows(&self, month: Day) -> Result<Vec<PendingRow>> {
        let pending = self.db.writer.sql(
            "SELECT p.*, u.service_guid IS NULL AS is_new FROM usage_pending p LEFT JOIN service_usage u
                 ON u.period_type = p.period_type AND u.period = p.period AND u.service_guid = p.service_guid
             WHERE p.month = $1 ORDER BY p.service_guid, p.period_type, p.period",
        );
        pending.bind(month.to_string()).all().await?.iter().map(pending_row).collect()
    }

    /// Unlocks a month, and puts what was pending in its rows' place; tells how many rows that wrote, and none where the month
    /// was not locked.
    ///
    /// # Errors
    /// When the lease is lost or the database fails; then it is still locked.
    pub async fn unlock_month(
        &self,
        lease: &Lease,
        month: Day,
        pending: &[ServiceRows],
        clock: Clock,
    ) -> Result<Option<RowsWritten>> {
        let mut transaction = self.begin_leased(lease).await?;
        let (number, run, at) = (transaction.number(), transaction.job(), clock.now());
        let unlock = transaction.sql(
            "UPDATE period_locks SET unlocked_commit = $2, unlocked_at = $3
             WHERE month = $1 AND unlocked_commit IS NULL",
        );
        if unlock.bind(month.to_string()).bind(number).bind(at).execute().await? == 0 {
            return Ok(None);
        }
        let commit = RowCommit { number, run, at };
        let written = rows::replace(&mut transaction, pending, &BTreeSet::new(), commit).await?;
        reach(Point::PendingApplied)?;
        transaction.sql("DELETE FROM usage_pending WHERE month = $1").bind(month.to_string()).execute().await?;
        history::note_commit(&mut transaction, number, clock.now()).await?;
        transaction.commit_at(Point::UnlockReady).await?;
        self.meters.wrote_rows(written);
        reach(Point::Unlocked)?;
        Ok(Some(written))
    }
}

/// Columns are found by their place in the table.
fn pending_row(row: &Row) -> Result<PendingRow> {
    let mut numbers = Numbers::default();
    for (number, place) in numbers.0.iter_mut().zip(5..) {
        *number = row.get::<i64>(place)?;
    }
    let digest: &[u8] = row.get("input_digest")?;
    Ok(PendingRow {
        service: row.shown_guid(1)?,
        draft: DraftRow {
            period_type: row.parsed("period_type")?,
            period: row.parsed("period")?,
            numbers,
            event_count: row.get("event_count")?,
            input_digest: IdentityHash(u128::from_be_bytes(digest.try_into().map_err(StoreError::inconsistent)?)),
            clamped: row.get("clamped")?,
        },
        reason: reason(row.get("reason")?)?,
        is_gone: row.get("gone")?,
        is_new: row.get("is_new")?,
    })
}
