//! GetServiceUsage: one service's numbers for one period. `PeriodType` and `Period` are our extension (`spec/api.md`,
//! section 6, rule 1).

use crate::api::Call;
use crate::api::error::ApiError;
use crate::api::reply::{Reply, Standing};
use crate::api::wire::service_usage::ServiceUsage;
use crate::model::PeriodType;

pub(in crate::api) async fn handle(call: Call) -> Result<Reply, ApiError> {
    let Call { api, principal, mut params } = call;
    let service = params.guid("ServiceGuid");
    let period_type = params.period_type("PeriodType").unwrap_or(PeriodType::Daily);
    let period = params.day("Period", api.zone);
    let as_of = params.has("AsOf");
    params.finish()?;
    if as_of {
        // To ignore it would be to answer today's numbers to somebody who asked for those of then.
        return Err(ApiError::argument("AsOf", "AsOf is not supported by this version"));
    }
    let service = service.ok_or_else(|| ApiError::argument("ServiceGuid", "ServiceGuid is required"))?;

    let usage = api.opened()?.reports.service_usage(service, period_type, period).await?;
    principal.must_see(&usage.service)?;
    // Only now: the status is for those alone who may see the service.
    let status = usage.service.status();
    if status.hides_usage() {
        return Err(ApiError::UsageHidden(status));
    }
    Ok(Reply::json(&ServiceUsage::from(&usage))?.with_standing(Standing::of_row(usage.row.as_ref())))
}
