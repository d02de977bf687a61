//! All rows that somebody may see, some services at a time, so that whoever reads slowly holds no transaction, and memory stays as it is.
//!
//! A page is one statement: what it tells of a service is so at one moment. From page to page the rows may move on, as they do
//! while an export runs; as of an instant they don't, for then each page is read as of the same commit.

use std::pin::pin;

use futures_util::TryStreamExt as _;
use uuid::Uuid;

use super::{Reports, UsageError};
use crate::model::{Day, PeriodType, UsageRow};
use crate::store::{RowFilter, ServiceFilter, Store, StoreError};

/// A page has about so many rows.
const ROWS: usize = 8_192;
const FEWEST_SERVICES: usize = 4;
const MOST_SERVICES: usize = 1_024;

/// Which rows are wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub period_type: PeriodType,
    pub from: Option<Day>,
    pub to: Option<Day>,
    /// All services where empty.
    pub services: Vec<Uuid>,
    /// None where nothing may be seen.
    pub scope: Option<ServiceFilter>,
    /// The service and the period of the row behind which to go on.
    pub behind: Option<(Uuid, Day)>,
}

/// An export that is under way.
#[derive(Debug)]
pub struct Bulk {
    store: Store,
    wanted: Wanted,
    to: Day,
    /// Where it is as of an instant.
    commit: Option<i64>,
    /// The last service that was read; none before the first.
    last: Option<Uuid>,
    services_at_once: usize,
}

impl Reports {
    /// Begins an export, as of now or of the instant.
    ///
    /// # Errors
    /// When an end of the range is in the future, or the store fails.
    pub async fn bulk(&self, wanted: Wanted) -> Result<Bulk, UsageError> {
        let today = self.today();
        if let Some(period) = [wanted.from, wanted.to].into_iter().flatten().find(|day| *day > today) {
            return Err(UsageError::PeriodInFuture { period, today });
        }
        let commit = self.commit().await?;
        // The service itself may have more rows.
        let last = wanted.behind.and_then(|(service, _)| service.as_u128().checked_sub(1)).map(Uuid::from_u128);
        let to = wanted.to.unwrap_or(today);
        Ok(Bulk { store: self.store.clone(), wanted, to, commit, last, services_at_once: FEWEST_SERVICES })
    }
}

impl Bulk {
    /// The next rows, by service, then period; none when there are no more.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn next(&mut self) -> Result<Option<Vec<UsageRow>>, StoreError> {
        let Some(scope) = &self.wanted.scope else { return Ok(None) };
        loop {
            let services =
                self.store.services_behind(self.last, scope, &self.wanted.services, self.services_at_once).await?;
            let Some(last) = services.last().copied() else { return Ok(None) };
            let (period_type, from) = (self.wanted.period_type, self.wanted.from);
            let filter = RowFilter { period_type, from, to: self.to, services };
            let mut rows: Vec<UsageRow> = pin!(self.store.usage_rows(&filter, self.commit)).try_collect().await?;
            // As many services as make a page, by what these had.
            let fitting = filter.services.len() * ROWS / rows.len().max(1);
            self.services_at_once = fitting.clamp(FEWEST_SERVICES, (self.services_at_once * 4).min(MOST_SERVICES));
            self.last = Some(last);
            if let Some(behind) = self.wanted.behind {
                rows.retain(|row| (row.service, row.period) > behind);
            }
            if !rows.is_empty() {
                return Ok(Some(rows));
            }
        }
    }
}
