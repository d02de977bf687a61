//! GetServiceUserUsage: what one user of a service did in a period.

use super::users_of::{Found, users_of};
use crate::api::Call;
use crate::api::about::{self, About, Gives, Param};
use crate::api::error::ApiError;
use crate::api::params::required;
use crate::api::reply::Reply;
use crate::api::wire::user_usage;

pub(in crate::api) static ABOUT: About = About {
    summary: "What one user of a service did in a period.",
    takes: &[
        Param::path("ServiceGuid", "The service."),
        Param::path("UserGuid", "The user."),
        about::PERIOD_TYPE,
        about::PERIOD,
    ],
    gives: Gives::Report(&user_usage::RESPONSE),
};

pub(in crate::api) async fn handle(call: Call) -> Result<Reply, ApiError> {
    let Call { api, principal, mut params, format } = call;
    let (service, user) = (params.guid("ServiceGuid"), params.guid("UserGuid"));
    let (period_type, period) = (params.period_type("PeriodType"), params.day("Period", api.zone));
    params.refuse_as_of();
    params.finish()?;
    let user = required(user, "UserGuid")?;

    let Found { about, standing, mut users } = users_of(&api, &principal, service, period_type, period).await?;
    let usage = users.remove(&user).ok_or(ApiError::NoSuch("user", user))?;
    Ok(Reply::new(&format, &user_usage::response(about, user, &usage)).with_standing(standing))
}
