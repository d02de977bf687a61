//! What both per-user reports begin with: the service, its period, and the users that events name (`spec/usage.md`, Per-user
//! numbers).

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::api::auth::Principal;
use crate::api::error::ApiError;
use crate::api::reply::Standing;
use crate::api::wire::user_usage::About;
use crate::api::{Api, params};
use crate::audit::user_usage::UserUsage;
use crate::model::{Day, PeriodType};

/// The users of a service, and how final the service's own numbers of the period are.
pub(super) struct Found {
    pub about: About,
    pub standing: Standing,
    pub users: BTreeMap<Uuid, UserUsage>,
}

/// # Errors
/// When the service is not there, out of sight, or its usage is not reported; and when the log can't be read.
pub(super) async fn users_of(
    api: &Api,
    principal: &Principal,
    service: Option<Uuid>,
    period_type: Option<PeriodType>,
    period: Option<Day>,
) -> Result<Found, ApiError> {
    let service = params::required(service, "ServiceGuid")?;
    let period_type = period_type.unwrap_or(PeriodType::Daily);
    let usage = api.reports(None)?.service_usage(service, period_type, period).await?;
    principal.must_see_usage(&usage.service)?;
    let users = api.user_usage(service, period_type, usage.period).await?;
    let about = About { service, period_type, period: usage.period };
    Ok(Found { about, standing: Standing::of_rows(usage.row.iter()), users })
}
