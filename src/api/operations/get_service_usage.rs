//! GetServiceUsage: one service's numbers for one period. `PeriodType` and `Period` are our extension (`spec/api.md`,
//! section 6, rule 1).

use crate::api::Call;
use crate::api::about::{self, About, Gives, Param};
use crate::api::error::ApiError;
use crate::api::params::required;
use crate::api::reply::{Reply, Standing};
use crate::api::wire::service_usage;
use crate::model::PeriodType;

pub(in crate::api) static ABOUT: About = About {
    summary: "One service's numbers for one period.",
    takes: &[Param::path("ServiceGuid", "The service."), about::PERIOD_TYPE, about::PERIOD, about::AS_OF],
    gives: Gives::Report(&service_usage::RESPONSE),
};

pub(in crate::api) async fn handle(call: Call) -> Result<Reply, ApiError> {
    let Call { api, principal, mut params, format } = call;
    let service = params.guid("ServiceGuid");
    let period_type = params.period_type("PeriodType").unwrap_or(PeriodType::Daily);
    let period = params.day("Period", api.zone);
    let as_of = params.date_time("AsOf");
    params.finish()?;
    let service = required(service, "ServiceGuid")?;

    let usage = api.reports(as_of)?.service_usage(service, period_type, period).await?;
    principal.must_see_usage(&usage.service)?;
    let standing = Standing::of_rows(usage.row.iter());
    Ok(Reply::new(&format, &service_usage::response(&usage)).with_standing(standing))
}
