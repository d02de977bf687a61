//! The service directory: the patches that count, and the entries that they make.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{Row as _, SqliteConnection};
use uuid::Uuid;

use super::{Result, Store, StoreError, guid, insert_all, text_of};
use crate::model::{Day, Instant, Service};
use crate::rollup::PatchEvent;

impl Store {
    /// A service's directory entry.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn service(&self, service: Uuid) -> Result<Option<Service>> {
        let row = sqlx::query("SELECT service_guid, document FROM service_directory WHERE service_guid = $1")
            .bind(service.as_bytes().as_slice())
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(entry).transpose()
    }

    /// All directory entries, by creation, then GUID.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn services(&self) -> Result<Vec<Service>> {
        let rows =
            sqlx::query("SELECT service_guid, document FROM service_directory ORDER BY created_on, service_guid")
                .fetch_all(&self.readers)
                .await?;
        rows.iter().map(entry).collect()
    }
}

fn entry(row: &sqlx::sqlite::SqliteRow) -> Result<Service> {
    let service: Service = serde_json::from_str(row.try_get("document")?).map_err(StoreError::inconsistent)?;
    Ok(Service { service_guid: guid(row, "service_guid")?, ..service })
}

/// Replaces the patches of these partitions and services, and draws the services' entries anew.
pub(super) async fn replace_patches(
    connection: &mut SqliteConnection,
    patches: &BTreeMap<(Day, Uuid), Vec<PatchEvent>>,
) -> Result<()> {
    for ((day, service), events) in patches {
        sqlx::query("DELETE FROM service_patches WHERE service_guid = $1 AND day = $2")
            .bind(service.as_bytes().as_slice())
            .bind(day.0)
            .execute(&mut *connection)
            .await?;
        let events: Vec<(i64, &PatchEvent)> = (0..).zip(events).collect();
        let insert = "INSERT INTO service_patches (service_guid, day, position, time, patch) ";
        insert_all(
            connection,
            insert,
            5,
            &events,
            |mut row, (position, event)| {
                row.push_bind(service.as_bytes().to_vec())
                    .push_bind(day.0)
                    .push_bind(*position)
                    .push_bind(event.time.nanos())
                    .push_bind(event.patch.clone());
            },
            "",
        )
        .await?;
    }
    let services: BTreeSet<Uuid> = patches.keys().map(|(_, service)| *service).collect();
    for service in services {
        redraw(connection, service).await?;
    }
    Ok(())
}

/// An instant or a date (from its midnight on, as the API shows it) in the one form that sorts by time.
fn sortable(created_on: &str) -> String {
    let instant = Instant::parse_rfc3339(created_on).or_else(|| Some(created_on.parse::<Day>().ok()?.utc_start()));
    instant.map_or_else(|| created_on.to_owned(), text_of)
}

async fn redraw(connection: &mut SqliteConnection, guid: Uuid) -> Result<()> {
    let key = guid.as_bytes().as_slice();
    let rows = sqlx::query("SELECT time, patch FROM service_patches WHERE service_guid = $1 ORDER BY day, position")
        .bind(key)
        .fetch_all(&mut *connection)
        .await?;
    let Some(first) = rows.first() else {
        sqlx::query("DELETE FROM service_directory WHERE service_guid = $1").bind(key).execute(connection).await?;
        return Ok(());
    };
    let first_seen = Instant::from_nanos(first.try_get("time")?);
    let patches = rows.iter().map(|row| row.try_get("patch")).collect::<Result<Vec<&str>, _>>()?;
    let mut service = Service::from_patches(guid, patches).map_err(StoreError::inconsistent)?;
    // Every answer must say when a service was created: one that was never told was first heard of then.
    let created_on = service.created_on.get_or_insert_with(|| text_of(first_seen)).clone();
    sqlx::query(
        "INSERT INTO service_directory (service_guid, status, created_on, reseller_guid, partner_guid, document)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT DO UPDATE SET status = excluded.status, created_on = excluded.created_on,
             reseller_guid = excluded.reseller_guid, partner_guid = excluded.partner_guid, document = excluded.document",
    )
    .bind(key)
    .bind(service.status().name())
    .bind(sortable(&created_on))
    .bind(service.reseller_guid.map(|guid| guid.as_bytes().to_vec()))
    .bind(service.partner_guid.map(|guid| guid.as_bytes().to_vec()))
    .bind(serde_json::to_string(&service).map_err(StoreError::inconsistent)?)
    .execute(connection)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_instants_sort_together() {
        assert_eq!(sortable("2026-01-30"), "2026-01-30T00:00:00Z");
        assert_eq!(sortable("2026-01-30T00:00:00Z"), "2026-01-30T00:00:00Z");
        assert_eq!(sortable("2026-01-30t01:30:00.25+02:00"), "2026-01-29T23:30:00Z");
    }
}
