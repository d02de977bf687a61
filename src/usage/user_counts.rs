//! How many users services had, month by month.

use std::collections::{BTreeMap, HashMap};
use std::pin::pin;

use futures_util::TryStreamExt as _;
use uuid::Uuid;

use super::{Reports, UsageError};
use crate::model::{Day, Numbers, PeriodType, Service, UsageRow};
use crate::store::{RowFilter, ServiceFilter, Window};

/// Professional and Guest users by month.
pub type UserCounts = BTreeMap<Day, [i64; 2]>;

/// A page of services, and what all of them have together.
#[derive(Clone, Debug)]
pub struct UserCountReport {
    pub services: Vec<ServiceUserCounts>,
    /// Of all services that are wanted, not of the page alone.
    pub totals: UserCounts,
    pub total: i64,
}

#[derive(Clone, Debug)]
pub struct ServiceUserCounts {
    pub service: Service,
    pub counts: UserCounts,
    /// The rows of the months that are asked for.
    rows: Vec<UsageRow>,
}

impl UserCountReport {
    /// The rows that the page rests on.
    pub fn rows(&self) -> impl Iterator<Item = &UsageRow> {
        self.services.iter().flat_map(|of_service| &of_service.rows)
    }
}

impl Reports {
    /// The users of a page of services in these months, which come one after the other, and in the month before them.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn user_counts(
        &self,
        filter: &ServiceFilter,
        window: Window,
        months: &[Day],
    ) -> Result<UserCountReport, UsageError> {
        let page = self.store.list_services(filter, window).await?;
        let places: HashMap<Uuid, usize> = page.items.iter().map(|service| service.service_guid).zip(0..).collect();
        let of_page = |service| ServiceUserCounts { service, counts: UserCounts::new(), rows: Vec::new() };
        let services = page.items.into_iter().map(of_page).collect();
        let mut report = UserCountReport { services, totals: UserCounts::new(), total: page.total };
        let (Some(first), Some(last)) = (months.first(), months.last()) else { return Ok(report) };
        let wanted = self.store.wanted_services(filter).await?;
        if wanted.is_empty() {
            return Ok(report);
        }
        let from = Some(first.previous().month());
        let rows = RowFilter { period_type: PeriodType::Monthly, from, to: *last, services: wanted };
        let mut found = pin!(self.store.usage_rows(&rows, self.commit().await?));
        while let Some(row) = found.try_next().await? {
            let Numbers([_, pro, guest, ..]) = row.numbers;
            let add = |counts: &mut UserCounts| {
                let sum = counts.entry(row.period).or_default();
                *sum = [sum[0].saturating_add(pro), sum[1].saturating_add(guest)];
            };
            add(&mut report.totals);
            if let Some(of_page) = places.get(&row.service).map(|place| &mut report.services[*place]) {
                add(&mut of_page.counts);
                if row.period >= *first {
                    of_page.rows.push(self.with_state(row));
                }
            }
        }
        Ok(report)
    }
}
