//! Reading what it takes to draw a service's rows.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::FixedState;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::rows::{digest, numbers, state};
use super::{Result, Store, StoreError, decode, guid};
use crate::model::{Day, Gauges, IdentityHash, Instant, Numbers, PeriodType, RowState};
use crate::rollup::{MonthFacts, MonthKey};

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
    /// What is held after all months.
    pub held: Gauges,
    /// The facts from the month of `from` on, by its first day.
    pub months: BTreeMap<Day, MonthFacts>,
    /// The rows that stand there now: daily ones from `from` on, monthly ones from its month on.
    pub rows: HashMap<(PeriodType, Day), StoredRow, FixedState>,
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

impl Store {
    /// The services after `after` whose rows must be drawn so that they reach `today`, at most `limit`, in order of their
    /// GUIDs.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn services_to_draw(&self, after: Option<Uuid>, today: Day, limit: i64) -> Result<Vec<ServiceToDraw>> {
        let due = sqlx::query(
            "SELECT service_guid, first_day, held, rows_from, rows_through, dirty_from FROM service_progress
             WHERE service_guid > $3 AND (dirty_from IS NOT NULL
                 OR (first_day <= $1 AND coalesce(rows_through, first_day - 1) < $1))
             ORDER BY service_guid LIMIT $2",
        )
        .bind(today.0)
        .bind(limit)
        .bind(after.as_ref().map_or(&[][..], |after| after.as_bytes()))
        .fetch_all(&self.readers)
        .await?;
        let mut services = due.iter().map(|row| due_service(row, today)).collect::<Result<Vec<ServiceToDraw>>>()?;
        self.read_months(&mut services).await?;
        self.read_rows(&mut services).await?;
        Ok(services)
    }

    async fn read_months(&self, services: &mut [ServiceToDraw]) -> Result<()> {
        let (Some(last), false) = (self.last_month().await?, services.is_empty()) else { return Ok(()) };
        let months_of = |service: &ServiceToDraw| {
            let guid = service.service;
            std::iter::successors(Some(service.from.month()), |month| Some(month.next_month()))
                .take_while(move |month| *month <= last)
                .map(move |month| (month, guid))
        };
        let mut keys: Vec<MonthKey> = services.iter().flat_map(months_of).collect();
        keys.sort_unstable();
        for ((month, service), facts) in self.month_facts(&keys).await? {
            if let Ok(at) = services.binary_search_by_key(&service, |service| service.service) {
                services[at].months.insert(month, facts);
            }
        }
        Ok(())
    }

    async fn read_rows(&self, services: &mut [ServiceToDraw]) -> Result<()> {
        // The GUID, the first day and the first month: 16, 10 and 10 bytes.
        let mut wanted: Vec<u8> = Vec::new();
        for service in services.iter().filter(|service| service.rows_from.is_some()) {
            wanted.extend_from_slice(service.service.as_bytes());
            wanted.extend_from_slice(service.from.to_string().as_bytes());
            wanted.extend_from_slice(service.from.month().to_string().as_bytes());
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let rows = sqlx::query(
            "WITH RECURSIVE wanted (at) AS (SELECT 1 UNION ALL SELECT at + 36 FROM wanted WHERE at + 36 < length($1)),
                 types (period_type, place) AS (VALUES ('Daily', 16), ('Monthly', 26))
             SELECT u.* FROM wanted CROSS JOIN types CROSS JOIN service_usage u
             ON u.service_guid = lower(hex(substr($1, at, 16))) AND u.period_type = types.period_type
                 AND u.period >= CAST(substr($1, at + place, 10) AS TEXT)",
        )
        .bind(wanted)
        .fetch_all(&self.readers)
        .await?;
        for row in &rows {
            let service = Uuid::try_parse(row.try_get("service_guid")?).map_err(StoreError::inconsistent)?;
            if let Ok(at) = services.binary_search_by_key(&service, |service| service.service) {
                let (key, stored) = stored_row(row)?;
                services[at].rows.insert(key, stored);
            }
        }
        Ok(())
    }
}

fn due_service(row: &SqliteRow, today: Day) -> Result<ServiceToDraw> {
    let optional = |column| Ok::<_, StoreError>(row.try_get::<Option<i32>, _>(column)?.map(Day));
    let first_day = optional("first_day")?;
    let next = optional("rows_through")?.map(Day::next).or(first_day);
    Ok(ServiceToDraw {
        service: guid(row, "service_guid")?,
        first_day,
        from: [optional("dirty_from")?, next].into_iter().flatten().min().unwrap_or(today),
        rows_from: optional("rows_from")?,
        held: decode(row.try_get("held")?)?,
        months: BTreeMap::new(),
        rows: HashMap::default(),
    })
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
