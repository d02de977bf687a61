//! Pages of the service directory, with or without the services' rows.

use std::pin::pin;

use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::StreamExt as _;
use serde_json::Value;
use uuid::Uuid;

use super::db::{ByDialect, Guids, Query, Spelled};
use super::directory::entry;
use super::usage::{is_locked, lockable_row};
use super::{Result, Store, StoreError};
use crate::model::{Day, Instant, PeriodType, Service, ServiceStatus, UsageRow};

/// Which services are wanted: those for which all of it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceFilter {
    pub partner: Option<Uuid>,
    pub reseller: Option<Uuid>,
    pub service: Option<Uuid>,
    /// Both ends are included, to the second.
    pub created_from: Option<DateTime<Utc>>,
    pub created_to: Option<DateTime<Utc>>,
    /// Without those that are Blocked or Provisioning.
    pub with_usage_only: bool,
}

/// Some of a list, which is sorted by creation, then GUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub limit: i64,
    pub offset: i64,
}

/// Some of a list, and how long all of it is.
#[derive(Clone, Debug, Default)]
pub struct Listed<T> {
    pub items: Vec<T>,
    pub total: i64,
}

impl<T> Listed<T> {
    /// The part of a whole list that a window shows.
    #[must_use]
    pub fn of(all: Vec<T>, window: Window) -> Self {
        let total = i64::try_from(all.len()).unwrap_or(i64::MAX);
        let [offset, limit] = [window.offset, window.limit].map(|number| usize::try_from(number).unwrap_or(usize::MAX));
        Self { items: all.into_iter().skip(offset).take(limit).collect(), total }
    }
}

/// A status that an event told of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusTold {
    pub service: Uuid,
    pub time: Instant,
    /// The ordinary one where the event cleared it.
    pub status: ServiceStatus,
}

/// The parameters are those of [`Store::filtered`].
macro_rules! wanted {
    () => {
        "FROM service_entries
         WHERE ($1 IS NULL OR partner_guid = $1) AND ($2 IS NULL OR reseller_guid = $2)
             AND ($3 IS NULL OR service_guid = $3)
             AND created_on >= coalesce($4, '') AND ($5 IS NULL OR created_on <= $5)
             AND ($6 OR status NOT IN ('Blocked', 'Provisioning'))"
    };
}

/// All that are wanted are numbered and counted for every page, so that none takes longer than another however far behind it
/// is: with LIMIT and OFFSET alone, the last page of 10,000 services takes SQLite more than twice as long as the first.
macro_rules! page {
    () => {
        concat!(
            "WITH wanted AS MATERIALIZED (
                 SELECT service_guid AS guid, row_number() OVER (ORDER BY created_on, service_guid) AS place ",
            wanted!(),
            "),
             page AS (SELECT guid, place, (SELECT count(*) FROM wanted) AS total FROM wanted
                      WHERE place > $8 AND place <= $8 + $7) "
        )
    };
}

/// Rows first: their columns are found by place.
macro_rules! page_with_rows {
    ($shown:literal) => {
        concat!(
            page!(),
            "SELECT u.*, e.service_guid AS entry_guid, e.document, page.total, ",
            is_locked!("$11"),
            " AS is_locked
             FROM page JOIN service_entries e ON e.service_guid = page.guid
             LEFT JOIN service_usage u ON u.period_type = $9 AND u.period = $10 AND u.service_guid = ",
            $shown,
            " ORDER BY page.place"
        )
    };
}

impl Store {
    /// Some of the services of a filter.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_services(&self, filter: &ServiceFilter, window: Window) -> Result<Listed<Service>> {
        const PAGE: &str = concat!(
            page!(),
            "SELECT e.service_guid AS entry_guid, e.document, page.total
             FROM page JOIN service_entries e ON e.service_guid = page.guid ORDER BY page.place"
        );
        let rows = filtered(self.db.readers.sql(PAGE), filter).bind(window.limit).bind(window.offset).all().await?;
        let items = rows.iter().map(entry).collect::<Result<Vec<Service>>>()?;
        let total = rows.first().map(|row| row.get("total")).transpose()?;
        Ok(Listed { items, total: self.or_counted(total, filter, window).await? })
    }

    /// Some of the services of a filter that also fit a test, which takes reading all of them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn search_services(
        &self,
        filter: &ServiceFilter,
        window: Window,
        fits: impl Fn(&Service) -> bool + Send,
    ) -> Result<Listed<Service>> {
        const ALL: &str =
            concat!("SELECT service_guid AS entry_guid, document ", wanted!(), " ORDER BY created_on, service_guid");
        let mut rows = pin!(filtered(self.db.exports.sql(ALL), filter).stream());
        let mut found = Listed { items: Vec::new(), total: 0 };
        while let Some(row) = rows.next().await {
            let service = entry(&row?)?;
            if !fits(&service) {
                continue;
            }
            if found.total >= window.offset && found.total - window.offset < window.limit {
                found.items.push(service);
            }
            found.total += 1;
        }
        Ok(found)
    }

    /// Some of the services of a filter, and the row for a period of each that has one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_usage(
        &self,
        filter: &ServiceFilter,
        window: Window,
        period_type: PeriodType,
        period: Day,
    ) -> Result<Listed<(Service, Option<UsageRow>)>> {
        static PAGE: ByDialect =
            ByDialect { sqlite: page_with_rows!("lower(hex(page.guid))"), postgres: page_with_rows!("page.guid") };
        let page = filtered(self.db.readers.sql(&PAGE), filter).bind(window.limit).bind(window.offset);
        let of_period = page.bind(period_type.name()).bind(period.to_string()).bind(period.month().to_string());
        let rows = of_period.all().await?;
        let mut items = Vec::with_capacity(rows.len());
        for row in &rows {
            let has_usage = row.get::<Option<&str>>("period")?.is_some();
            items.push((entry(row)?, has_usage.then(|| lockable_row(row)).transpose()?));
        }
        let total = rows.first().map(|row| row.get("total")).transpose()?;
        Ok(Listed { items, total: self.or_counted(total, filter, window).await? })
    }

    /// The total that came with a page; a page behind the end brings none.
    async fn or_counted(&self, total: Option<i64>, filter: &ServiceFilter, window: Window) -> Result<i64> {
        match total {
            Some(total) => Ok(total),
            None if window.offset == 0 => Ok(0),
            None => self.count_services(filter).await,
        }
    }

    /// The next services that have rows, in the order of their GUIDs, behind one of them: those of a filter, and of these, if any are
    /// named. A service without a directory entry is nobody's, and has no status.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn services_behind(
        &self,
        last: Option<Uuid>,
        filter: &ServiceFilter,
        named: &[Uuid],
        most: usize,
    ) -> Result<Vec<Uuid>> {
        static NEXT: Spelled = Spelled::new(
            "SELECT p.service_guid FROM service_progress p LEFT JOIN service_entries e ON e.service_guid = p.service_guid
             WHERE ($1 IS NULL OR p.service_guid > $1) AND ($2 IS NULL OR e.partner_guid = $2)
                 AND ($3 IS NULL OR e.reseller_guid = $3) AND ($4 IS NULL OR p.service_guid = $4)
                 AND ($5 OR coalesce(e.status, '') NOT IN ('Blocked', 'Provisioning'))
                 AND ($6 OR p.service_guid {in guids $7})
             ORDER BY p.service_guid LIMIT $8",
        );
        let next =
            self.db.readers.sql(&NEXT).bind(last).bind(filter.partner).bind(filter.reseller).bind(filter.service);
        let next = next.bind(!filter.with_usage_only).bind(named.is_empty()).bind(Guids::from(named));
        let rows = next.bind(i64::try_from(most).unwrap_or(i64::MAX)).all().await?;
        rows.iter().map(|row| row.get("service_guid")).collect()
    }

    /// The statuses that were told of the services of a filter, by events that count: by the services' creation and GUID, then in
    /// event order.
    ///
    /// # Errors
    /// When the database fails, or holds something that it should not.
    pub async fn told_statuses(&self, filter: &ServiceFilter) -> Result<Vec<StatusTold>> {
        const PATCHES: &str = concat!(
            "WITH wanted AS (SELECT service_guid AS guid, created_on AS created ",
            wanted!(),
            ") SELECT p.service_guid, p.time, p.patch FROM wanted JOIN service_patches p ON p.service_guid = wanted.guid
               WHERE p.patch LIKE '%\"status\":%' ORDER BY wanted.created, wanted.guid, p.day, p.position"
        );
        let mut told = Vec::new();
        let mut patches = pin!(filtered(self.db.exports.sql(PATCHES), filter).stream());
        while let Some(row) = patches.next().await {
            let row = row?;
            let patch: Value = serde_json::from_str(row.get("patch")?).map_err(StoreError::inconsistent)?;
            if let Some(status) = patch.get("status") {
                let (service, time) = (row.get("service_guid")?, Instant::from_nanos(row.get("time")?));
                told.push(StatusTold { service, time, status: ServiceStatus::of(status.as_str()) });
            }
        }
        Ok(told)
    }

    /// The services of a filter.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn wanted_services(&self, filter: &ServiceFilter) -> Result<Vec<Uuid>> {
        let wanted = self.db.readers.sql(concat!("SELECT service_guid ", wanted!(), " ORDER BY service_guid"));
        filtered(wanted, filter).all().await?.iter().map(|row| row.get("service_guid")).collect()
    }

    /// How many services a filter wants.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count_services(&self, filter: &ServiceFilter) -> Result<i64> {
        filtered(self.db.readers.sql(concat!("SELECT count(*) ", wanted!())), filter).value().await
    }
}

/// Sets the parameters that every statement on a filter has first.
fn filtered<'q>(query: Query<'q>, filter: &ServiceFilter) -> Query<'q> {
    // The form that is stored, which sorts by time.
    let second = |time: Option<DateTime<Utc>>| time.map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true));
    query
        .bind(filter.partner)
        .bind(filter.reseller)
        .bind(filter.service)
        .bind(second(filter.created_from))
        .bind(second(filter.created_to))
        .bind(!filter.with_usage_only)
}
