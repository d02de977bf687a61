//! GetService: a service's directory entry, whatever its status.

use crate::api::Call;
use crate::api::about::{About, Gives, Param};
use crate::api::error::ApiError;
use crate::api::params::required;
use crate::api::reply::Reply;
use crate::api::wire::service;

pub(in crate::api) static ABOUT: About = About {
    summary: "A service's directory entry, whatever its status.",
    takes: &[Param::path("ServiceGuid", "The service.")],
    gives: Gives::Document(&service::RESPONSE),
};

pub(in crate::api) async fn handle(call: Call) -> Result<Reply, ApiError> {
    let Call { api, principal, mut params, format } = call;
    let guid = params.guid("ServiceGuid");
    params.finish()?;
    let entry = api.reports(None)?.service(required(guid, "ServiceGuid")?).await?;
    principal.must_see(&entry)?;
    Ok(Reply::new(&format, &service::response(&entry)))
}
