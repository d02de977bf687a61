//! GetServicesUsage: the numbers of all services that the caller may see, for one period, by page.

use crate::api::Call;
use crate::api::about::{self, About, Gives, Kind, Param};
use crate::api::error::ApiError;
use crate::api::format::Format;
use crate::api::reply::{Reply, Standing};
use crate::api::wire::page::Page;
use crate::api::wire::service_usage;
use crate::model::PeriodType;
use crate::store::ServiceFilter;
use crate::usage::services::ServicesUsage;

pub(in crate::api) static ABOUT: About = About {
    summary: "The numbers of all services that the caller may see, for one period, by page; without those that are Blocked or Provisioning.",
    takes: &[
        about::PAGE,
        about::PAGE_SIZE,
        Param::optional("PartnerGuid", Kind::Guid, "Only services of this partner."),
        Param::optional("ResellerGuid", Kind::Guid, "Only services of this reseller."),
        Param::optional("ServiceGuid", Kind::Guid, "Only this service."),
        about::CREATED_AFTER,
        about::CREATED_BEFORE,
        about::PERIOD_TYPE,
        about::PERIOD,
        about::AS_OF,
    ],
    gives: Gives::Report(&service_usage::PAGED_RESPONSE),
};

pub(in crate::api) async fn handle(call: Call) -> Result<Reply, ApiError> {
    let Call { api, principal, mut params, format } = call;
    let page = params.page();
    let filter = ServiceFilter {
        partner: params.guid("PartnerGuid"),
        reseller: params.guid("ResellerGuid"),
        service: params.guid("ServiceGuid"),
        created_from: params.date_time("CreatedAfterDateTime"),
        created_to: params.date_time("CreatedBeforeDateTime"),
        with_usage_only: true,
    };
    let period_type = params.period_type("PeriodType").unwrap_or(PeriodType::Daily);
    let period = params.day("Period", api.zone);
    let as_of = params.date_time("AsOf");
    params.finish()?;

    let filter = principal.narrow(filter);
    let list = api.reports(as_of)?.services_usage(filter.as_ref(), page.window(), period_type, period).await?;
    Ok(reply(&format, page, &list))
}

/// A page of services' usage.
pub(super) fn reply(format: &Format, page: Page, list: &ServicesUsage) -> Reply {
    let standing = Standing::of_rows(list.usages.iter().filter_map(|usage| usage.row.as_ref()));
    let response = service_usage::paged_response(Page { total: list.total, ..page }, &list.usages);
    Reply::new(format, &response).with_standing(standing)
}
