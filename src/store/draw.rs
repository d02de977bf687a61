//! Which services' rows must be drawn, and from which day on.

use std::sync::LazyLock;

use uuid::Uuid;

use super::db::{Guids, Lookup, Spelled, Transaction};
use super::{Result, Store, StoredService};
use crate::model::{Day, Instant, Reason};
use crate::rollup::ServiceTotals;

/// A service's rows are to be drawn anew, or do not reach today, which is $1.
const WAITS_TO_BE_DRAWN: &str =
    "(dirty_from IS NOT NULL OR first_day <= $1 AND coalesce(rows_through, first_day - 1) < $1)";

/// A service whose rows may have to change, or do not yet reach today.
#[derive(Clone, Copy, Debug)]
pub struct ServiceToDraw {
    pub service: Uuid,
    /// Its first day is none where no event counts any more.
    pub totals: ServiceTotals,
    /// The first and the last day whose rows may be wrong or missing.
    pub from: Day,
    pub through: Day,
    /// The first and the last day that have a row now.
    pub stored: Option<(Day, Day)>,
    /// Why rows that are closed change.
    pub reason: Reason,
}

impl ServiceToDraw {
    /// A service whose rows are to reach `today`; none where they do, and nothing has changed.
    #[must_use]
    pub fn of(service: Uuid, stored: &StoredService, today: Day) -> Option<Self> {
        let totals = stored.totals;
        let next = stored.rows.map(|(_, through)| through.next()).or(totals.first_day);
        let from = [stored.dirty_from, next.filter(|next| *next <= today)].into_iter().flatten().min()?;
        let reason = stored.dirty_reason.unwrap_or_default();
        Some(Self { service, totals, from, through: today, stored: stored.rows, reason })
    }
}

/// That rows are to be drawn anew, as [`Store::mark_for_backfill`] notes it, before it is noted.
#[derive(Clone, Debug)]
pub struct Redraw {
    pub from: Day,
    /// All where none are named.
    pub services: Vec<Uuid>,
}

impl Redraw {
    pub fn apply(&self, service: Uuid, stored: &mut StoredService) {
        let is_meant = self.services.is_empty() || self.services.contains(&service);
        let Some(first_day) = stored.totals.first_day.filter(|_| is_meant) else { return };
        stored.dirty_from = Some(match stored.dirty_from {
            _ if first_day > self.from => first_day,
            Some(dirty_from) if dirty_from < self.from => dirty_from.max(first_day),
            _ => self.from,
        });
    }
}

/// Notes that the rows of these services are drawn, and reach `today`.
pub(super) async fn note(transaction: &mut Transaction, services: Vec<Uuid>, today: Day) -> Result<()> {
    static DRAWN: Spelled = Spelled::new(
        "UPDATE service_progress SET rows_from = CASE WHEN first_day <= $2 THEN first_day END,
             rows_through = CASE WHEN first_day <= $2 THEN $2 END, dirty_from = NULL, dirty_reason = NULL
         WHERE service_guid {in guids $1}",
    );
    if services.is_empty() {
        return Ok(());
    }
    transaction.sql(&DRAWN).bind(Guids::from(services)).bind(today).execute().await.map(|_| ())
}

impl Store {
    /// All services that are known, in order of their GUIDs.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn known_services(&self) -> Result<Vec<(Uuid, StoredService)>> {
        static KNOWN: Lookup = Lookup::new(&StoredService::COLUMNS, "service_progress", &[], "true");
        let mut services = StoredService::all_found(&self.db.writer.look_up(&KNOWN, &[]).answer().await?)?;
        services.sort_unstable_by_key(|(service, _)| *service);
        Ok(services)
    }

    /// Whether anything waits to be rolled up or drawn, or rows to be moved on to their next state.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_rollup_due(&self, today: Day, now: Instant) -> Result<bool> {
        static DUE: LazyLock<String> = LazyLock::new(|| {
            format!(
                "SELECT CAST(CASE WHEN EXISTS (SELECT 1 FROM dirty_partitions)
                     OR EXISTS (SELECT 1 FROM state_changes WHERE due_at <= $2)
                     OR EXISTS (SELECT 1 FROM service_progress WHERE {WAITS_TO_BE_DRAWN})
                 THEN 1 ELSE 0 END AS bigint)"
            )
        });
        let due = self.db.readers.sql(DUE.as_str()).bind(today).bind(now);
        Ok(due.value::<i64>().await? > 0)
    }

    /// The services whose rows must be drawn so that they reach `today`, in order of their GUIDs.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn services_to_draw(&self, today: Day) -> Result<Vec<ServiceToDraw>> {
        static DUE: Lookup = Lookup::new(&StoredService::COLUMNS, "service_progress", &[], WAITS_TO_BE_DRAWN);
        let due = StoredService::all_found(&self.db.writer.look_up(&DUE, &[]).bind(today).answer().await?)?;
        let due = due.into_iter().filter_map(|(service, stored)| ServiceToDraw::of(service, &stored, today));
        let mut services: Vec<ServiceToDraw> = due.collect();
        services.sort_unstable_by_key(|service| service.service);
        Ok(services)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_drawn_anew_from_the_day_named_or_from_where_they_wait_already() {
        let from = |services: &[Uuid], first_day: Option<i32>, dirty_from: Option<i32>| {
            let totals = ServiceTotals { first_day: first_day.map(Day), ..ServiceTotals::default() };
            let mut stored = StoredService { totals, dirty_from: dirty_from.map(Day), ..StoredService::default() };
            Redraw { from: Day(10), services: services.to_vec() }.apply(Uuid::nil(), &mut stored);
            stored.dirty_from.map(|day| day.0)
        };
        assert_eq!(from(&[], Some(5), None), Some(10));
        assert_eq!(from(&[], Some(15), Some(20)), Some(15));
        assert_eq!(from(&[], Some(5), Some(20)), Some(10));
        assert_eq!(from(&[], Some(5), Some(7)), Some(7));
        assert_eq!(from(&[], Some(5), Some(3)), Some(5));
        assert_eq!(from(&[], None, Some(3)), Some(3), "it has no row");
        assert_eq!(from(&[Uuid::nil()], Some(5), None), Some(10));
        assert_eq!(from(&[Uuid::max()], Some(5), None), None);
    }
}
