//! When services changed their status: from the history of `service.updated`, as far as it counts.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use uuid::Uuid;

use super::{Reports, ServiceUsage, UsageError};
use crate::model::{Instant, PeriodType, ServiceStatus};
use crate::store::{Listed, ServiceFilter, StatusTold, Window};

/// A service's change to another status, or the first that it was told.
#[derive(Clone, Debug)]
pub struct StatusChange {
    /// The same whenever it is asked for.
    pub guid: Uuid,
    pub status: ServiceStatus,
    pub changed_on: Instant,
    /// The service as it is now, with its numbers of the default day.
    pub usage: ServiceUsage,
}

/// Both ends are included, to the second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Changed {
    pub from: Option<chrono::DateTime<chrono::Utc>>,
    pub to: Option<chrono::DateTime<chrono::Utc>>,
}

impl Reports {
    /// Some of the changes of the services of a filter, by the services' creation and GUID, then by time.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn status_changes(
        &self,
        filter: &ServiceFilter,
        changed: Changed,
        window: Window,
    ) -> Result<Listed<StatusChange>, UsageError> {
        let told = self.store.told_statuses(filter).await?;
        let all = told.chunk_by(|a, b| a.service == b.service).flat_map(changes);
        let wanted: Vec<StatusTold> = all.filter(|change| changed.holds(change.time)).collect();
        let Listed { items: of_page, total } = Listed::of(wanted, window);
        let mut usages: HashMap<Uuid, ServiceUsage> = HashMap::new();
        let mut items = Vec::new();
        for change in of_page {
            let StatusTold { service, time, status } = change;
            let usage = match usages.entry(service) {
                Entry::Occupied(known) => known.get().clone(),
                Entry::Vacant(new) => new.insert(self.service_usage(service, PeriodType::Daily, None).await?).clone(),
            };
            items.push(StatusChange { guid: guid(change), status, changed_on: time, usage });
        }
        Ok(Listed { items, total })
    }
}

impl Changed {
    fn holds(self, time: Instant) -> bool {
        let second = time.to_utc().timestamp();
        self.from.is_none_or(|from| from.timestamp() <= second) && self.to.is_none_or(|to| second <= to.timestamp())
    }
}

/// Those of what one service was told that are changes.
fn changes(told: &[StatusTold]) -> impl Iterator<Item = StatusTold> + use<'_> {
    let mut last = None;
    told.iter().copied().filter(move |told| last.replace(told.status) != Some(told.status))
}

/// What a change is known by: a hash of what it is.
fn guid(change: StatusTold) -> Uuid {
    let mut hasher = blake3::Hasher::new();
    hasher.update(change.service.as_bytes()).update(&change.time.nanos().to_le_bytes());
    hasher.update(change.status.name().as_bytes());
    uuid::Builder::from_custom_bytes(*hasher.finalize().as_bytes().first_chunk().expect("a hash has 32 bytes"))
        .into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_status_and_each_other_one_is_a_change() {
        use ServiceStatus::{Blocked, TrialActive};
        let told = [TrialActive, TrialActive, Blocked, Blocked, TrialActive].into_iter().zip(0..);
        let told: Vec<StatusTold> = told
            .map(|(status, at)| StatusTold { service: Uuid::nil(), time: Instant::from_seconds(at), status })
            .collect();
        let changes: Vec<StatusTold> = changes(&told).collect();
        assert_eq!(changes, [told[0], told[2], told[4]]);
        assert_ne!(guid(changes[0]), guid(changes[2]));
        assert_eq!(guid(changes[0]).get_version_num(), 8);
    }
}
