//! The service directory: the patches that count, and the entries that they make.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use super::db::{Guids, Insert, Row, Spelled, Transaction};
use super::{Result, Store, StoreError};
use crate::model::{Day, Instant, Service};
use crate::rollup::PatchEvent;

/// Entries are drawn so many at a time, to bound what their patches take in memory.
const SERVICES_AT_A_TIME: usize = 1_000;

impl Store {
    /// A service's directory entry.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn service(&self, service: Uuid) -> Result<Option<Arc<Service>>> {
        let read = async || {
            let entry_of = "SELECT service_guid AS entry_guid, document FROM service_entries WHERE service_guid = $1";
            let found = self.db.readers.sql(entry_of).bind(service).optional().await?;
            found.as_ref().map(entry).transpose().map(|entry| entry.map(Arc::new))
        };
        self.recent.services.answer(&self.db, service, read).await
    }

    /// All directory entries, by creation, then GUID.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn services(&self) -> Result<Vec<Service>> {
        let all = "SELECT service_guid AS entry_guid, document FROM service_entries ORDER BY created_on, service_guid";
        self.db.exports.sql(all).all().await?.iter().map(entry).collect()
    }
}

/// The entry in the columns `entry_guid` and `document`.
pub(super) fn entry(row: &Row) -> Result<Service> {
    let service: Service = serde_json::from_str(row.get("document")?).map_err(StoreError::inconsistent)?;
    Ok(Service { service_guid: row.get("entry_guid")?, ..service })
}

/// Replaces the patches of these partitions and services, and draws the services' entries anew.
pub(super) async fn replace_patches(
    transaction: &mut Transaction,
    patches: &BTreeMap<(Day, Uuid), Vec<PatchEvent>>,
) -> Result<()> {
    static REMOVE: Spelled = Spelled::new("DELETE FROM service_patches WHERE service_guid {in guids $1} AND day = $2");
    static PATCHES: Insert = Insert::new("service_patches", &["service_guid", "day", "position", "time", "patch"], "");
    let keys: Vec<(Day, Uuid)> = patches.keys().copied().collect();
    for keys in keys.chunk_by(|a, b| a.0 == b.0) {
        let services: Vec<Uuid> = keys.iter().map(|(_, service)| *service).collect();
        transaction.sql(&REMOVE).bind(Guids::from(services)).bind(keys[0].0).execute().await?;
    }
    let of_key = |((day, service), events): (&(Day, Uuid), &'_ Vec<PatchEvent>)| -> Vec<(Uuid, Day, i64, PatchEvent)> {
        (0..).zip(events).map(|(position, event)| (*service, *day, position, event.clone())).collect()
    };
    let mut events: Vec<(Uuid, Day, i64, PatchEvent)> = patches.iter().flat_map(of_key).collect();
    events.sort_unstable_by_key(|(service, day, position, _)| (*service, *day, *position));
    PATCHES
        .all(transaction, &events, |values, (service, day, position, event)| {
            values.push(*service).push(*day).push(*position).push(event.time.nanos()).push(event.patch.as_str());
        })
        .await?;
    let services: BTreeSet<Uuid> = patches.keys().map(|(_, service)| *service).collect();
    let services: Vec<Uuid> = services.into_iter().collect();
    for services in services.chunks(SERVICES_AT_A_TIME) {
        redraw(transaction, services).await?;
    }
    Ok(())
}

/// Whatever spells an instant or a date (from its midnight on, as the API shows it), in the one form that sorts by time.
fn sortable(created_on: &str) -> String {
    let instant = Instant::parse_rfc3339(created_on).or_else(|| Some(created_on.parse::<Day>().ok()?.utc_start()));
    instant.map_or_else(|| created_on.to_owned(), Instant::to_rfc3339_seconds)
}

async fn redraw(transaction: &mut Transaction, services: &[Uuid]) -> Result<()> {
    static PATCHES: Spelled = Spelled::new(
        "SELECT service_guid, time, patch FROM service_patches WHERE service_guid {in guids $1}
         ORDER BY service_guid, day, position",
    );
    static ENTRIES: Insert = Insert::new(
        "service_entries",
        &["service_guid", "status", "created_on", "reseller_guid", "partner_guid", "document"],
        "ON CONFLICT (service_guid) DO UPDATE SET status = excluded.status, created_on = excluded.created_on,
             reseller_guid = excluded.reseller_guid, partner_guid = excluded.partner_guid, document = excluded.document",
    );
    let rows = transaction.sql(&PATCHES).bind(Guids::from(services)).all().await?;
    let mut patches: BTreeMap<Uuid, (Instant, Vec<&str>)> = BTreeMap::new();
    for row in &rows {
        let first_seen = Instant::from_nanos(row.get("time")?);
        let of_service = patches.entry(row.get("service_guid")?).or_insert((first_seen, Vec::new()));
        of_service.1.push(row.get("patch")?);
    }
    for gone in services.iter().filter(|service| !patches.contains_key(service)) {
        transaction.sql("DELETE FROM service_entries WHERE service_guid = $1").bind(*gone).execute().await?;
    }
    let entry = |(guid, (first_seen, patches)): (Uuid, (Instant, Vec<&str>))| {
        let mut service = Service::from_patches(guid, patches).map_err(StoreError::inconsistent)?;
        // Every answer must say when a service was created: one that was never told was first heard of then.
        let created_on = service.created_on.get_or_insert_with(|| first_seen.to_rfc3339_seconds()).clone();
        let document = serde_json::to_string(&service).map_err(StoreError::inconsistent)?;
        Ok((guid, service, sortable(&created_on), document))
    };
    let entries = patches.into_iter().map(entry).collect::<Result<Vec<(Uuid, Service, String, String)>>>()?;
    ENTRIES
        .all(transaction, &entries, |values, (guid, service, created_on, document)| {
            values
                .push(*guid)
                .push(service.status().name())
                .push(created_on.as_str())
                .push(service.reseller_guid)
                .push(service.partner_guid)
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
