//! Lists: the usage of many services, and the directory itself.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt as _;
use uuid::Uuid;

use super::{Reports, ServiceUsage, UsageError};
use crate::model::{Day, Instant, PeriodType, Service, UsageRow};
use crate::store::{Listed, RowFilter, ServiceFilter, Window};

/// A page of services with their rows for one period.
#[derive(Clone, Debug)]
pub struct ServicesUsage {
    pub usages: Vec<ServiceUsage>,
    /// How many services the whole list has.
    pub total: i64,
}

/// Services of which one of these is wanted; all where none is told. A text fits wherever it stands in theirs, in any case.
#[derive(Clone, Debug, Default)]
pub struct SearchTerms {
    pub domain: Option<String>,
    pub name: Option<String>,
    pub code: Option<String>,
}

impl Reports {
    /// The usage of a page of services, for the period that holds the day `period`, or for the default period.
    ///
    /// No filter wants no service: so it is where somebody may see none of those that are asked for.
    ///
    /// # Errors
    /// When the period is in the future, or the store fails.
    pub async fn services_usage(
        &self,
        filter: Option<&ServiceFilter>,
        window: Window,
        period_type: PeriodType,
        period: Option<Day>,
    ) -> Result<ServicesUsage, UsageError> {
        let period = self.period(period_type, period)?;
        let Some(filter) = filter else { return Ok(ServicesUsage { usages: Vec::new(), total: 0 }) };
        let listed = match self.as_of {
            None => self.store.list_usage(filter, window, period_type, period).await?,
            Some(instant) => self.list_usage_as_of(filter, window, period_type, period, instant).await?,
        };
        let usage = |(service, row): (Service, Option<UsageRow>)| {
            let row = row.map(|row| self.with_state(row));
            ServiceUsage { service: Arc::new(service), period_type, period, row }
        };
        Ok(ServicesUsage { usages: listed.items.into_iter().map(usage).collect(), total: listed.total })
    }

    async fn list_usage_as_of(
        &self,
        filter: &ServiceFilter,
        window: Window,
        period_type: PeriodType,
        period: Day,
        instant: Instant,
    ) -> Result<Listed<(Service, Option<UsageRow>)>, UsageError> {
        let services = self.store.list_services(filter, window).await?;
        let guids: Vec<Uuid> = services.items.iter().map(|service| service.service_guid).collect();
        let mut rows = HashMap::new();
        if !guids.is_empty() {
            let commit = self.store.commit_as_of(instant).await?;
            let wanted = RowFilter { period_type, from: Some(period), to: period, services: guids };
            let is_locked = self.store.was_locked(period.month(), commit).await?;
            let mut found = pin!(self.store.usage_rows(&wanted, Some(commit)));
            while let Some(row) = found.next().await.transpose()? {
                rows.insert(row.service, if is_locked { row.locked() } else { row });
            }
        }
        let with_row = |service: Service| {
            let row = rows.remove(&service.service_guid);
            (service, row)
        };
        Ok(Listed { items: services.items.into_iter().map(with_row).collect(), total: services.total })
    }

    /// A service's directory entry.
    ///
    /// # Errors
    /// When it has none, or the store fails.
    pub async fn service(&self, service: Uuid) -> Result<Arc<Service>, UsageError> {
        self.store.service(service).await?.ok_or(UsageError::NoSuchService(service))
    }

    /// A page of the directory.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn services(
        &self,
        filter: &ServiceFilter,
        window: Window,
        terms: &SearchTerms,
    ) -> Result<Listed<Service>, UsageError> {
        if terms.is_empty() {
            return Ok(self.store.list_services(filter, window).await?);
        }
        let terms = terms.lower_case();
        Ok(self.store.search_services(filter, window, |service| terms.fit(service)).await?)
    }

    /// Whether the directory has any service that a filter wants.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn has_services(&self, filter: &ServiceFilter) -> Result<bool, UsageError> {
        Ok(self.store.count_services(filter).await? > 0)
    }
}

impl SearchTerms {
    fn is_empty(&self) -> bool {
        self.domain.is_none() && self.name.is_none() && self.code.is_none()
    }

    fn lower_case(&self) -> Self {
        let lower = |text: &Option<String>| text.as_ref().map(|text| text.to_lowercase());
        Self { domain: lower(&self.domain), name: lower(&self.name), code: lower(&self.code) }
    }

    /// Whether one of the terms, which are in lower case, is found.
    fn fit(&self, service: &Service) -> bool {
        let pairs =
            [(&self.domain, &service.primary_domain), (&self.name, &service.name), (&self.code, &service.service_code)];
        pairs.into_iter().any(|pair| match pair {
            (Some(term), Some(text)) => text.to_lowercase().contains(term),
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_term_that_fits_is_enough() {
        let text = |text: &str| Some(text.to_owned());
        let service = Service { name: text("Ångström Ltd"), primary_domain: text("a.example"), ..Service::default() };
        let fits = |terms: SearchTerms| terms.lower_case().fit(&service);
        assert!(fits(SearchTerms { name: text("ÅNGSTRÖM"), ..SearchTerms::default() }));
        assert!(fits(SearchTerms { name: text("nobody"), domain: text("A.Ex"), ..SearchTerms::default() }));
        assert!(!fits(SearchTerms { name: text("example"), code: text("a"), ..SearchTerms::default() }));
        assert!(SearchTerms::default().is_empty());
    }
}
