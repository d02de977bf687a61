//! GetResellerServiceUsage: yesterday's numbers of a reseller's services, by page; GetServicesUsage can do more.

use super::get_services_usage;
use super::owner::Owner;
use crate::api::Call;
use crate::api::about::{self, About, Gives, Param};
use crate::api::error::ApiError;
use crate::api::params::required;
use crate::api::reply::Reply;
use crate::api::wire::service_usage;
use crate::model::PeriodType;
use crate::store::ServiceFilter;

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
    let services = Owner::Reseller(reseller).services_in_sight(&reports, &principal).await?;
    let filter = ServiceFilter { with_usage_only: true, ..services };
    let list = reports.services_usage(Some(&filter), page.window(), PeriodType::Daily, None).await?;
    Ok(get_services_usage::reply(&format, page, &list))
}
