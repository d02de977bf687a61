//! The read module: the one place that answers questions about usage, for the API, the export and the command line.

pub mod bulk;
pub mod export;
pub mod restatements;
pub mod services;
pub mod status_changes;
pub mod user_counts;

use std::sync::Arc;

use thiserror::Error;
use uuid::Uuid;

use crate::clock::Clock;
use crate::model::{Day, Instant, PeriodType, RowState, Service, UsageRow, Zone};
use crate::store::{Store, StoreError};

/// Answers questions from what the store holds, as of the clock's now.
#[derive(Clone, Debug)]
pub struct Reports {
    store: Store,
    clock: Clock,
    zone: Zone,
    as_of: Option<Instant>,
}

/// A service and its row for one period.
#[derive(Clone, Debug)]
pub struct ServiceUsage {
    pub service: Arc<Service>,
    pub period_type: PeriodType,
    /// The first day of the period that was used.
    pub period: Day,
    /// None where the service has no row for the period. Its state is the one of now, not the one of the last rollup.
    pub row: Option<UsageRow>,
}

#[derive(Debug, Error)]
pub enum UsageError {
    #[error("there is no service {}", .0.simple())]
    NoSuchService(Uuid),
    #[error("the period that begins on {period} is in the future; today is {today}")]
    PeriodInFuture { period: Day, today: Day },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Reports {
    #[must_use]
    pub const fn new(store: Store, clock: Clock, zone: Zone) -> Self {
        Self { store, clock, zone, as_of: None }
    }

    /// The same questions, answered as they would have been at an earlier instant. A row that was not closed then, and has
    /// changed since, is not there: such versions are not kept (`spec/usage.md`, law 9).
    #[must_use]
    pub fn as_of(self, instant: Instant) -> Self {
        Self { as_of: Some(instant), ..self }
    }

    /// The commit after which rows are told as they stood; none where they are told as they are.
    async fn commit(&self) -> Result<Option<i64>, StoreError> {
        match self.as_of {
            Some(instant) => Ok(Some(self.store.commit_as_of(instant).await?)),
            None => Ok(None),
        }
    }

    /// The period that is meant where none is named: yesterday, or the month that contains it (`spec/api.md`, section 6,
    /// rule 1).
    #[must_use]
    pub fn default_period(&self, period_type: PeriodType) -> Day {
        period_type.period_of(self.today().previous())
    }

    /// A service's directory entry and its row for the period that holds the day `period`, or for the default period.
    ///
    /// Whether the asker may see the service is for the asker to find out, from the entry.
    ///
    /// # Errors
    /// When the period is in the future, the service has no directory entry, or the store fails.
    pub async fn service_usage(
        &self,
        service: Uuid,
        period_type: PeriodType,
        period: Option<Day>,
    ) -> Result<ServiceUsage, UsageError> {
        let period = self.period(period_type, period)?;
        let entry = self.service(service).await?;
        let row = match self.as_of {
            None => self.store.usage_row(service, period_type, period).await?,
            Some(instant) => {
                let commit = self.store.commit_as_of(instant).await?;
                self.store.usage_row_as_of(service, period_type, period, commit).await?
            }
        };
        Ok(ServiceUsage { service: entry, period_type, period, row: row.map(|row| self.with_state(row)) })
    }

    /// The period that holds a day, or the default one.
    fn period(&self, period_type: PeriodType, day: Option<Day>) -> Result<Day, UsageError> {
        let period = day.map_or_else(|| self.default_period(period_type), |day| period_type.period_of(day));
        let today = self.today();
        if period > today { Err(UsageError::PeriodInFuture { period, today }) } else { Ok(period) }
    }

    /// A row with the state that it is in now, or was in then.
    fn with_state(&self, mut row: UsageRow) -> UsageRow {
        row.state = state_at(&row, self.zone, self.as_of.unwrap_or_else(|| self.clock.now()));
        row
    }

    fn today(&self) -> Day {
        self.zone.day_of(self.clock.now())
    }
}

/// The state that a row is in at this instant. What is stored of `open` and `settling` is only as fresh as the last rollup,
/// while the end of a period and `closes_at` come by themselves (`spec/usage.md`, states).
fn state_at(row: &UsageRow, zone: Zone, now: Instant) -> RowState {
    match row.state {
        RowState::Open | RowState::Settling | RowState::Closed
            if now < zone.start_of(row.period_type.after(row.period)) =>
        {
            RowState::Open
        }
        RowState::Open | RowState::Settling | RowState::Closed if now < row.closes_at => RowState::Settling,
        RowState::Open | RowState::Settling => RowState::Closed,
        last => last,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{IdentityHash, Numbers};

    fn instant(text: &str) -> Instant {
        Instant::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn a_row_moves_on_with_the_clock_until_it_is_final() {
        let zone: Zone = "America/New_York".parse().unwrap();
        let row = |state| UsageRow {
            service: Uuid::nil(),
            period_type: PeriodType::Daily,
            period: "2026-03-08".parse().unwrap(),
            numbers: Numbers::default(),
            event_count: 0,
            input_digest: IdentityHash::default(),
            clamped: false,
            revision: 1,
            state,
            computed_at: instant("2026-03-08T12:00:00Z"),
            closes_at: instant("2026-03-09T06:00:00Z"),
        };
        let at = |state, now| state_at(&row(state), zone, instant(now));
        // One that is closed now was not always so.
        for stale in [RowState::Open, RowState::Settling, RowState::Closed] {
            assert_eq!(at(stale, "2026-03-09T03:59:59Z"), RowState::Open, "that day has 23 hours");
            assert_eq!(at(stale, "2026-03-09T04:00:00Z"), RowState::Settling);
            assert_eq!(at(stale, "2026-03-09T05:59:59Z"), RowState::Settling);
            assert_eq!(at(stale, "2026-03-09T06:00:00Z"), RowState::Closed);
        }
        for last in [RowState::Restated, RowState::Locked] {
            assert_eq!(at(last, "2026-03-08T12:00:00Z"), last);
        }
    }
}
