//! Reading what it takes to draw a service's rows.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::FixedState;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

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

/// What a service's stored rows are found by: its GUID, the first day and the first month, of 16, 10 and 10 bytes.
const WANTED_BYTES: usize = 36;

impl Store {
    /// The services whose rows must be drawn so that they reach `today`, in order of their GUIDs, without their facts and
    /// rows.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn services_to_draw(&self, today: Day) -> Result<Vec<ServiceToDraw>> {
        let due = sqlx::query(
            "SELECT service_guid, first_day, held, rows_from, rows_through, dirty_from FROM service_progress
             WHERE dirty_from IS NOT NULL OR (first_day <= $1 AND coalesce(rows_through, first_day - 1) < $1)
             ORDER BY service_guid",
        )
        .bind(today.0)
        .fetch_all(&self.readers)
        .await?;
        due.iter().map(|row| due_service(row, today)).collect()
    }

    /// Reads the facts and rows of these services, which are sorted.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn read_services(&self, services: &mut [ServiceToDraw]) -> Result<()> {
        self.read_months(services).await?;
        self.read_rows(services).await
    }

    async fn read_months(&self, services: &mut [ServiceToDraw]) -> Result<()> {
        let Some(last) = self.last_month().await? else { return Ok(()) };
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
        let mut wanted: Vec<u8> = Vec::new();
        let mut with_rows: Vec<&mut ServiceToDraw> =
            services.iter_mut().filter(|service| service.rows_from.is_some()).collect();
        for service in &with_rows {
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
             SELECT at, u.period_type, u.period, total_user_count, pro_user_count, guest_user_count, disabled_user_count,
                 unregistered_user_count, feature_usage_secure_messaging_gateway, feature_usage_secure_messaging_plus,
                 feature_usage_data_leak_prevention, feature_usage_secure_large_files, feature_usage_secure_forms,
                 total_message_count, total_attachment_count, attachment_storage_usage, event_count, input_digest, clamped,
                 revision, state, closes_at
             FROM wanted CROSS JOIN types CROSS JOIN service_usage u
             ON u.service_guid = lower(hex(substr($1, at, 16))) AND u.period_type = types.period_type
                 AND u.period >= CAST(substr($1, at + place, 10) AS TEXT)",
        )
        .bind(wanted)
        .fetch_all(&self.readers)
        .await?;
        for row in &rows {
            let at = usize::try_from(row.try_get::<i64, _>(0)?).map_err(StoreError::inconsistent)?;
            let (key, stored) = stored_row(row)?;
            with_rows[at / WANTED_BYTES].rows.insert(key, stored);
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

/// Its columns are found by their place: there are two rows a service in each rollup, and names cost as much as values.
fn stored_row(row: &SqliteRow) -> Result<((PeriodType, Day), StoredRow)> {
    let text = |place: usize| row.try_get::<&str, _>(place);
    let mut numbers = Numbers::default();
    for (number, place) in numbers.0.iter_mut().zip(3..) {
        *number = row.try_get::<i64, usize>(place)?;
    }
    let digest: &[u8] = row.try_get(17)?;
    let state = text(20)?;
    let stored = StoredRow {
        numbers,
        event_count: row.try_get(16)?,
        input_digest: IdentityHash(u128::from_be_bytes(digest.try_into().map_err(StoreError::inconsistent)?)),
        clamped: row.try_get(18)?,
        revision: row.try_get(19)?,
        state: RowState::from_name(state).ok_or_else(|| StoreError::inconsistent(format!("the state {state}")))?,
        closes_at: Instant::parse_rfc3339(text(21)?).ok_or_else(|| StoreError::inconsistent("closes_at"))?,
    };
    let period_type = text(1)?.parse().map_err(StoreError::Inconsistent)?;
    Ok(((period_type, text(2)?.parse().map_err(StoreError::Inconsistent)?), stored))
}
