//! `PingResponse`.

use serde::Serialize;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Ping {
    pub timestamp: String,
    pub version: &'static str,
}
