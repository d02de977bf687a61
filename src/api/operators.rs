//! What operators ask for, beside the API: no operations, so they have no prefix, no formats and no rates, and are not counted
//! or logged as requests.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::auth;
use super::error::ApiError;
use super::format::JSON_TYPE;
use super::{Api, reply};
use crate::config::MetricsAccess;
use crate::observe::METRICS_TYPE;
use crate::store::Role;

/// Whether the process is alive: that it answers is all there is to it.
pub(super) async fn health() -> Response {
    answer(StatusCode::OK, JSON_TYPE, r#"{"status":"alive"}"#)
}

/// Whether it can answer for its installation: 503 with the reason where it can't.
pub(super) async fn readiness(State(api): State<Arc<Api>>) -> Response {
    match api.observer.unready(api.reading()).await {
        None => answer(StatusCode::OK, JSON_TYPE, r#"{"status":"ready"}"#),
        Some(reason) => {
            let told = json!({ "status": "unready", "reasons": [reason] });
            answer(StatusCode::SERVICE_UNAVAILABLE, JSON_TYPE, told.to_string())
        }
    }
}

/// The metrics of the process and its installation, for whom `api.metrics` lets read them.
pub(super) async fn metrics(State(api): State<Arc<Api>>, headers: HeaderMap) -> Response {
    match may_read_metrics(&api, &headers).await {
        Ok(()) => answer(StatusCode::OK, METRICS_TYPE, api.observer.metrics(api.reading()).await),
        Err(error) => error.into_response(api.hide_forbidden, "-").into_response(),
    }
}

async fn may_read_metrics(api: &Api, headers: &HeaderMap) -> Result<(), ApiError> {
    match api.metrics {
        MetricsAccess::Open => Ok(()),
        MetricsAccess::Off => Err(ApiError::NoSuchRoute),
        MetricsAccess::Keys => match auth::principal(api, headers).await?.role {
            Role::SuperUser => Ok(()),
            Role::Partner | Role::Reseller | Role::Service => Err(ApiError::NotForThisRole),
        },
    }
}

fn answer(status: StatusCode, content_type: &'static str, body: impl Into<String>) -> Response {
    let mut response = reply::response(status, content_type, body.into().into_bytes());
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
