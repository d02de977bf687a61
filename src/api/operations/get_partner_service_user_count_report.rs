//! GetPartnerServiceUserCountReport: users of a partner's services, month by month.

use super::owner::Owner;
use super::user_count_report;
use crate::api::Call;
use crate::api::about::{About, Gives, Param};
use crate::api::error::ApiError;
use crate::api::reply::Reply;
use crate::api::wire::user_count_report::PAGED_RESPONSE;

pub(in crate::api) static ABOUT: About = About {
    summary: "The Professional and Guest users of a partner's services, month by month.",
    takes: &user_count_report::takes(Param::path("PartnerGuid", "The partner.")),
    gives: Gives::Report(&PAGED_RESPONSE),
};

pub(in crate::api) async fn handle(call: Call) -> Result<Reply, ApiError> {
    user_count_report::handle(call, "PartnerGuid", Owner::Partner).await
}
