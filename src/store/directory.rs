//! The service directory: the patches that count, and the entries that they make.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{Row as _, SqliteConnection};
use uuid::Uuid;

use super::batch::{Insert, joined};
use super::{Result, Store, StoreError, guid, text_of};
use crate::model::{Day, Instant, Service};
use crate::rollup::PatchEvent;

/// Entries are drawn so many at a time, to bound what their patches take in memory.
const SERVICES_AT_A_TIME: usize = 1_000;

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
    static PATCHES: Insert =
        Insert::new("INSERT INTO service_patches (service_guid, day, position, time, patch)", 5, "");
    let keys: Vec<(Day, Uuid)> = patches.keys().copied().collect();
    for keys in keys.chunk_by(|a, b| a.0 == b.0) {
        sqlx::query(
            "WITH RECURSIVE wanted (at) AS (SELECT 1 UNION ALL SELECT at + 16 FROM wanted WHERE at + 16 < length($1))
             DELETE FROM service_patches WHERE service_guid IN (SELECT substr($1, at, 16) FROM wanted) AND day = $2",
        )
        .bind(joined(keys.iter().map(|(_, service)| service)))
        .bind(keys[0].0.0)
        .execute(&mut *connection)
        .await?;
    }
    let of_key = |((day, service), events): (&(Day, Uuid), &'_ Vec<PatchEvent>)| -> Vec<(Uuid, Day, i64, PatchEvent)> {
        (0..).zip(events).map(|(position, event)| (*service, *day, position, event.clone())).collect()
    };
    let mut events: Vec<(Uuid, Day, i64, PatchEvent)> = patches.iter().flat_map(of_key).collect();
    events.sort_unstable_by_key(|(service, day, position, _)| (*service, *day, *position));
    PATCHES
        .all(connection, &events, |values, (service, day, position, event)| {
            values
                .push(service.as_bytes().as_slice())
                .push(day.0)
                .push(*position)
                .push(event.time.nanos())
                .push(event.patch.as_str());
        })
        .await?;
    let services: BTreeSet<Uuid> = patches.keys().map(|(_, service)| *service).collect();
    let services: Vec<Uuid> = services.into_iter().collect();
    for services in services.chunks(SERVICES_AT_A_TIME) {
        redraw(connection, services).await?;
    }
    Ok(())
}

/// An instant or a date (from its midnight on, as the API shows it) in the one form that sorts by time.
fn sortable(created_on: &str) -> String {
    let instant = Instant::parse_rfc3339(created_on).or_else(|| Some(created_on.parse::<Day>().ok()?.utc_start()));
    instant.map_or_else(|| created_on.to_owned(), text_of)
}

async fn redraw(connection: &mut SqliteConnection, services: &[Uuid]) -> Result<()> {
    static ENTRIES: Insert = Insert::new(
        "INSERT INTO service_directory (service_guid, status, created_on, reseller_guid, partner_guid, document)",
        6,
        "ON CONFLICT DO UPDATE SET status = excluded.status, created_on = excluded.created_on,
             reseller_guid = excluded.reseller_guid, partner_guid = excluded.partner_guid, document = excluded.document",
    );
    let rows = sqlx::query(
        "WITH RECURSIVE wanted (at) AS (SELECT 1 UNION ALL SELECT at + 16 FROM wanted WHERE at + 16 < length($1))
         SELECT service_guid, time, patch
         FROM wanted CROSS JOIN service_patches ON service_guid = substr($1, at, 16) ORDER BY at, day, position",
    )
    .bind(joined(services))
    .fetch_all(&mut *connection)
    .await?;
    let mut patches: BTreeMap<Uuid, (Instant, Vec<&str>)> = BTreeMap::new();
    for row in &rows {
        let first_seen = Instant::from_nanos(row.try_get("time")?);
        let of_service = patches.entry(guid(row, "service_guid")?).or_insert((first_seen, Vec::new()));
        of_service.1.push(row.try_get("patch")?);
    }
    for gone in services.iter().filter(|service| !patches.contains_key(service)) {
        sqlx::query("DELETE FROM service_directory WHERE service_guid = $1")
            .bind(gone.as_bytes().as_slice())
            .execute(&mut *connection)
            .await?;
    }
    let entry = |(guid, (first_seen, patches)): (Uuid, (Instant, Vec<&str>))| {
        let mut service = Service::from_patches(guid, patches).map_err(StoreError::inconsistent)?;
        // Every answer must say when a service was created: one that was never told was first heard of then.
        let created_on = service.created_on.get_or_insert_with(|| text_of(first_seen)).clone();
        let document = serde_json::to_string(&service).map_err(StoreError::inconsistent)?;
        Ok((guid, service, sortable(&created_on), document))
    };
    let entries = patches.into_iter().map(entry).collect::<Result<Vec<(Uuid, Service, String, String)>>>()?;
    ENTRIES
        .all(connection, &entries, |values, (guid, service, created_on, document)| {
            let bytes = |guid: &Uuid| guid.as_bytes().to_vec();
            values
                .push(guid.as_bytes().as_slice())
                .push(service.status().name())
                .push(created_on.as_str())
                .push(service.reseller_guid.as_ref().map(bytes))
                .push(service.partner_guid.as_ref().map(bytes))
                .push(document.as_str());
        })
        .await
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
