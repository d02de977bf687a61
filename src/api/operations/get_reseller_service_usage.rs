//! GetResellerServiceUsage: yesterday's numbers of a reseller's services, by page; GetServicesUsage can do more.

use uuid::Uuid;

use super::get_services_usage;
use crate::api::Call;
use crate::api::about::{self, About, Gives, Param};
use crate::api::auth::Principal;
use crate::api::error::ApiError;
use crate::api::params::required;
use crate::api::reply::Reply;
use crate::api::wire::service_usage;
use crate::model::PeriodType;
use crate::store::{Role, ServiceFilter};
use crate::usage::Reports;

pub(in crate::api) static ABOUT: About = About {
    summary: "Yesterday's numbers of a reseller's services, by page. Deprecated: GetServicesUsage can do more.",
    takes: &[Param::path("ResellerGuid", "The reseller."), about::PAGE, about::PAGE_SIZE, about::AS_OF],
    gives: Gives::Report(&service_usage::PAGED_RESPONSE),
};

pub(in crate::api) async fn handle(call: Call) -> Result<Reply, ApiError> {
    let Call { api, principal, mut params, format } = call;
    let reseller = params.guid("ResellerGuid");
    let page = params.page();
    let as_of = params.date_time("AsOf");
    params.finish()?;
    let reseller = required(reseller, "ResellerGuid")?;

    let reports = api.reports(as_of)?;
    let services = services_in_sight(&reports, &principal, reseller).await?;
    let filter = ServiceFilter { with_usage_only: true, ..services };
    let list = reports.services_usage(Some(&filter), page.window(), PeriodType::Daily, None).await?;
    Ok(get_services_usage::reply(&format, page, &list))
}

/// The services of a reseller that the caller may see. A reseller is there while a service names it, and in a partner's scope
/// while one of those names the partner; who may see one service alone sees no reseller.
async fn services_in_sight(
    reports: &Reports,
    principal: &Principal,
    reseller: Uuid,
) -> Result<ServiceFilter, ApiError> {
    let all = ServiceFilter { reseller: Some(reseller), ..ServiceFilter::default() };
    let in_sight = if principal.role == Role::Service { None } else { principal.narrow(all.clone()) };
    match in_sight {
        Some(in_sight) if reports.has_services(&in_sight).await? => Ok(in_sight),
        _ if reports.has_services(&all).await? => Err(ApiError::OutOfScope("reseller", reseller)),
        _ => Err(ApiError::NoSuch("reseller", reseller)),
    }
}
