//! Ping: whether the API answers, as of when, and in which version.

use crate::api::Call;
use crate::api::about::{About, Gives};
use crate::api::error::ApiError;
use crate::api::reply::Reply;
use crate::api::wire::ping;

pub(in crate::api) static ABOUT: About = About {
    summary: "Whether the API answers, as of when, and in which version.",
    takes: &[],
    gives: Gives::Document(&ping::RESPONSE),
};

#[expect(clippy::unused_async, reason = "the form of every operation; this one has nothing to wait for")]
pub(in crate::api) async fn handle(call: Call) -> Result<Reply, ApiError> {
    let now = call.api.clock.now().to_utc();
    Ok(Reply::new(&call.format, &ping::response(now, env!("CARGO_PKG_VERSION"))))
}
