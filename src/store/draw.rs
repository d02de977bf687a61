//! Reading what it takes to draw a service's rows.

use std::collections::BTreeMap;

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::{Result, Store, StoreError, decode, guid};
use crate::model::{Day, Gauges};
use crate::rollup::{MonthFacts, MonthKey};

/// A service whose rows may have to change, or do not yet reach today, with what it takes to draw them.
#[derive(Debug)]
pub struct ServiceToDraw {
    pub service: Uuid,
    /// The first day with an event that counts; none where no event counts any more.
    pub first_day: Option<Day>,
    /// The first day whose rows may be wrong or missing.
    pub from: Day,
    /// The first and the last day that have a row now.
    pub stored: Option<(Day, Day)>,
    /// What is held after all months.
    pub held: Gauges,
    /// The facts from the month of `from` on, by its first day.
    pub months: BTreeMap<Day, MonthFacts>,
}

impl Store {
    /// The services whose rows must be drawn so that they reach `today`, in order of their GUIDs, without their facts.
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

    /// Reads the facts of these services, which are sorted.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn read_months(&self, services: &mut [ServiceToDraw]) -> Result<()> {
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
}

fn due_service(row: &SqliteRow, today: Day) -> Result<ServiceToDraw> {
    let optional = |column| Ok::<_, StoreError>(row.try_get::<Option<i32>, _>(column)?.map(Day));
    let first_day = optional("first_day")?;
    let rows_through = optional("rows_through")?;
    let next = rows_through.map(Day::next).or(first_day);
    Ok(ServiceToDraw {
        service: guid(row, "service_guid")?,
        first_day,
        from: [optional("dirty_from")?, next].into_iter().flatten().min().unwrap_or(today),
        stored: optional("rows_from")?.zip(rows_through),
        held: decode(row.try_get("held")?)?,
        months: BTreeMap::new(),
    })
}
