//! Writing ServiceUsage rows: what changed, with revision and state (`spec/usage.md`).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::{Lease, MAX_PARAMETERS, Result, Store, StoreError, day, decode, encode, guid, insert_all, text_of};
use crate::model::{Day, Gauges, IdentityHash, Instant, Numbers, PeriodType, RowState};
use crate::rollup::{DraftRow, MonthFacts};

/// A service whose rows may have to change, or do not yet reach today, with what it takes to draw them.
#[derive(Debug)]
pub struct ServiceToDraw {
    pub service: Uuid,
    /// The first day with an event that counts; none where no event counts any more.
    pub first_day: Option<Day>,
    /// The first day whose rows may be wrong or missing.
    pub from: Day,
    /// The first day that has a row now.
    pub rows_from: Option<Day>,
    /// What was held when the month of `from` began.
    pub opening: Gauges,
    /// The facts from that month on, by its first day.
    pub months: BTreeMap<Day, MonthFacts>,
    /// The rows that stand there now: daily ones from `from` on, monthly ones from its month on.
    pub rows: HashMap<(PeriodType, Day), StoredRow>,
}

/// What of a stored row matters to its successor.
#[derive(Clone, Copy, Debug)]
pub struct StoredRow {
    pub numbers: Numbers,
    pub event_count: i64,
    pub input_digest: IdentityHash,
    pub clamped: bool,
    pub revision: i64,
    pub state: RowState,
    pub closes_at: Instant,
}

/// The rows of one service that are to be written, and how far it has come with them.
#[derive(Debug)]
pub struct ServiceRows {
    pub service: Uuid,
    pub first_day: Option<Day>,
    /// Whether there are rows that lie before the first day.
    pub begins_later: bool,
    pub through: Day,
    pub rows: Vec<(DraftRow, RowFate)>,
    /// What is held at the end of each month that has facts.
    pub closings: Vec<(Day, Gauges)>,
}

/// What makes a row's revision and state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowFate {
    pub revision: i64,
    pub state: RowState,
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
        sqlx::query(
            "UPDATE service_usage SET state = 'closed' WHERE state IN ('open', 'settling') AND closes_at <= $1",
        )
        .bind(text_of(now))
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "UPDATE service_usage SET state = 'settling' WHERE state = 'open' AND closes_at > $1
             AND period < CASE period_type WHEN 'Daily' THEN $2 ELSE $3 END",
        )
        .bind(text_of(now))
        .bind(today.to_string())
        .bind(today.month().to_string())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The next services whose rows must be drawn so that they reach `today`, at most `limit`, in order of their GUIDs.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn services_to_draw(&self, today: Day, limit: i64) -> Result<Vec<ServiceToDraw>> {
        let mut connection = self.readers.acquire().await?;
        let due = sqlx::query(
            "SELECT service_guid, first_day AS old_first_day, rows_through, dirty_from,
                 (SELECT min(m.first_day) FROM service_months m WHERE m.service_guid = p.service_guid) AS first_day
             FROM service_progress p
             WHERE dirty_from IS NOT NULL OR (p.first_day <= $1 AND coalesce(rows_through, p.first_day - 1) < $1)
             ORDER BY service_guid LIMIT $2",
        )
        .bind(today.0)
        .bind(limit)
        .fetch_all(&mut *connection)
        .await?;
        let mut services = due
            .iter()
            .map(|row| Ok((guid(row, "service_guid")?, due_service(row, today)?)))
            .collect::<Result<BTreeMap<Uuid, ServiceToDraw>>>()?;
        read_openings(&mut connection, &mut services).await?;
        read_months(&mut connection, &mut services).await?;
        read_rows(&mut connection, &mut services).await?;
        Ok(services.into_values().collect())
    }

    /// Writes drawn rows, and that these services are done: all or none.
    ///
    /// # Errors
    /// When the lease is lost or the database fails; then nothing of it is stored.
    pub async fn commit_rows(&self, lease: &Lease, services: &[ServiceRows], now: Instant) -> Result<RowsWritten> {
        let mut transaction = self.begin_leased(lease).await?;
        let connection = &mut *transaction;
        let mut written = 0;
        for service in services.iter().filter(|service| service.begins_later) {
            written += remove_before(connection, service.service, service.first_day).await?;
        }
        let rows: Vec<(Arc<str>, &DraftRow, &RowFate)> = services
            .iter()
            .flat_map(|service| {
                let guid: Arc<str> = service.service.simple().to_string().into();
                service.rows.iter().map(move |(draft, fate)| (guid.clone(), draft, fate))
            })
            .collect();
        upsert_rows(connection, &rows, now).await?;
        written += rows.len() as u64;
        store_progress(connection, services).await?;
        transaction.commit().await?;
        Ok(written)
    }
}

fn due_service(row: &SqliteRow, today: Day) -> Result<ServiceToDraw> {
    let optional = |column| Ok::<_, StoreError>(row.try_get::<Option<i32>, _>(column)?.map(Day));
    let (first_day, through) = (optional("first_day")?, optional("rows_through")?);
    let next = through.map(Day::next).or(first_day);
    Ok(ServiceToDraw {
        service: guid(row, "service_guid")?,
        first_day,
        from: [optional("dirty_from")?, next].into_iter().flatten().min().unwrap_or(today),
        rows_from: optional("old_first_day")?.filter(|_| through.is_some()),
        opening: Gauges::default(),
        months: BTreeMap::new(),
        rows: HashMap::new(),
    })
}

/// Begins a query whose table `wanted (service, day)` holds the services with the months from which they are drawn.
fn wanted_months(services: &BTreeMap<Uuid, ServiceToDraw>) -> sqlx::QueryBuilder<Sqlite> {
    let mut query = sqlx::QueryBuilder::new("WITH wanted (service, month) AS (");
    query.push_values(services.values(), |mut row, service| {
        row.push_bind(service.service.as_bytes().to_vec()).push_bind(service.from.month().0);
    });
    query.push(") ");
    query
}

async fn read_openings(connection: &mut SqliteConnection, services: &mut BTreeMap<Uuid, ServiceToDraw>) -> Result<()> {
    if services.is_empty() {
        return Ok(());
    }
    let mut query = wanted_months(services);
    query.push(
        "SELECT service, (SELECT closing FROM service_months m WHERE m.service_guid = service AND m.month < wanted.month
             ORDER BY m.month DESC LIMIT 1) AS opening FROM wanted",
    );
    for row in query.build().fetch_all(connection).await? {
        let opening: Option<&[u8]> = row.try_get("opening")?;
        if let (Some(service), Some(opening)) = (services.get_mut(&guid(&row, "service")?), opening) {
            service.opening = decode(opening)?;
        }
    }
    Ok(())
}

async fn read_months(connection: &mut SqliteConnection, services: &mut BTreeMap<Uuid, ServiceToDraw>) -> Result<()> {
    if services.is_empty() {
        return Ok(());
    }
    let mut query = wanted_months(services);
    query.push(
        "SELECT m.service_guid, m.month, m.facts FROM wanted
         CROSS JOIN service_months m ON m.service_guid = service AND m.month >= wanted.month",
    );
    for row in query.build().fetch_all(connection).await? {
        if let Some(service) = services.get_mut(&guid(&row, "service_guid")?) {
            service.months.insert(day(&row, "month")?, decode(row.try_get("facts")?)?);
        }
    }
    Ok(())
}

async fn read_rows(connection: &mut SqliteConnection, services: &mut BTreeMap<Uuid, ServiceToDraw>) -> Result<()> {
    let with_rows: Vec<(String, Day)> = services
        .values()
        .filter(|service| service.rows_from.is_some())
        .map(|service| (service.service.simple().to_string(), service.from))
        .collect();
    if with_rows.is_empty() {
        return Ok(());
    }
    let mut query = sqlx::QueryBuilder::<Sqlite>::new("WITH wanted (service, period_type, first) AS (");
    let of_type = |period_type: PeriodType| {
        with_rows.iter().map(move |(service, from)| (service, period_type, period_type.period_of(*from)))
    };
    query.push_values(
        of_type(PeriodType::Daily).chain(of_type(PeriodType::Monthly)),
        |mut row, (service, period_type, first)| {
            row.push_bind(service.clone()).push_bind(period_type.name()).push_bind(first.to_string());
        },
    );
    query.push(
        ") SELECT u.* FROM wanted CROSS JOIN service_usage u
           ON u.service_guid = service AND u.period_type = wanted.period_type AND u.period >= first",
    );
    for row in query.build().fetch_all(connection).await? {
        let service = Uuid::try_parse(row.try_get("service_guid")?).map_err(StoreError::inconsistent)?;
        if let Some(service) = services.get_mut(&service) {
            let (key, stored) = stored_row(&row)?;
            service.rows.insert(key, stored);
        }
    }
    Ok(())
}

fn stored_row(row: &SqliteRow) -> Result<((PeriodType, Day), StoredRow)> {
    let text = |column: &str| row.try_get::<&str, _>(column);
    let period_type = text("period_type")?.parse().map_err(StoreError::Inconsistent)?;
    let period = text("period")?.parse().map_err(StoreError::Inconsistent)?;
    let stored = StoredRow {
        numbers: numbers(row)?,
        event_count: row.try_get("event_count")?,
        input_digest: digest(row)?,
        clamped: row.try_get("clamped")?,
        revision: row.try_get("revision")?,
        state: state(row)?,
        closes_at: Instant::parse_rfc3339(text("closes_at")?).ok_or_else(|| StoreError::inconsistent("closes_at"))?,
    };
    Ok(((period_type, period), stored))
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

async fn upsert_rows(
    connection: &mut SqliteConnection,
    rows: &[(Arc<str>, &DraftRow, &RowFate)],
    now: Instant,
) -> Result<()> {
    let computed_at: Arc<str> = text_of(now).into();
    // Rows of many services share few periods and instants.
    let mut periods: HashMap<Day, Arc<str>> = HashMap::new();
    let mut instants: HashMap<Instant, Arc<str>> = HashMap::new();
    let insert = "INSERT INTO service_usage (service_guid, period_type, period, total_user_count, pro_user_count,
        guest_user_count, disabled_user_count, unregistered_user_count, feature_usage_secure_messaging_gateway,
        feature_usage_secure_messaging_plus, feature_usage_data_leak_prevention, feature_usage_secure_large_files,
        feature_usage_secure_forms, total_message_count, total_attachment_count, attachment_storage_usage, event_count,
        input_digest, clamped, revision, state, computed_at, closes_at) ";
    let replace = " ON CONFLICT DO UPDATE SET total_user_count = excluded.total_user_count,
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
        state = excluded.state, computed_at = excluded.computed_at, closes_at = excluded.closes_at";
    insert_all(
        connection,
        insert,
        23,
        rows,
        |mut values, (service, draft, fate)| {
            let period = periods.entry(draft.period).or_insert_with(|| draft.period.to_string().into());
            values.push_bind(service.clone()).push_bind(draft.period_type.name()).push_bind(period.clone());
            for number in draft.numbers.0 {
                values.push_bind(number);
            }
            let closes_at = instants.entry(fate.closes_at).or_insert_with(|| text_of(fate.closes_at).into());
            values
                .push_bind(draft.event_count)
                .push_bind(draft.input_digest.0.to_be_bytes().to_vec())
                .push_bind(draft.clamped)
                .push_bind(fate.revision)
                .push_bind(fate.state.name())
                .push_bind(computed_at.clone())
                .push_bind(closes_at.clone());
        },
        replace,
    )
    .await
}

async fn store_progress(connection: &mut SqliteConnection, services: &[ServiceRows]) -> Result<()> {
    let of_service = |service: &ServiceRows| {
        let guid = service.service.as_bytes().to_vec();
        service.closings.clone().into_iter().map(move |(month, closing)| Ok((guid.clone(), month, encode(&closing)?)))
    };
    let closings = services.iter().flat_map(of_service).collect::<Result<Vec<_>>>()?;
    for closings in closings.chunks(MAX_PARAMETERS / 3) {
        let mut query = sqlx::QueryBuilder::<Sqlite>::new("WITH closed (service, month, closing) AS (");
        query.push_values(closings, |mut row, (service, month, closing)| {
            row.push_bind(service.clone()).push_bind(month.0).push_bind(closing.clone());
        });
        query.push(
            ") UPDATE service_months SET closing = closed.closing FROM closed
               WHERE service_guid = closed.service AND service_months.month = closed.month
                   AND service_months.closing <> closed.closing",
        );
        query.build().execute(&mut *connection).await?;
    }
    let insert = "INSERT INTO service_progress (service_guid, first_day, rows_through, dirty_from) ";
    insert_all(connection, insert, 4, services, |mut row, service| {
        row.push_bind(service.service.as_bytes().to_vec())
            .push_bind(service.first_day.map(|day| day.0))
            .push_bind(service.first_day.filter(|day| *day <= service.through).map(|_| service.through.0))
            .push_bind(None::<i32>);
    }, " ON CONFLICT DO UPDATE SET first_day = excluded.first_day, rows_through = excluded.rows_through, dirty_from = NULL")
    .await
}
