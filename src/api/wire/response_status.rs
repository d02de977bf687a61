//! `ResponseStatus`, which errors are told in: exactly these members, and never a report beside them that somebody could
//! bill (`spec/api.md`, section 6, Errors).

use serde::Serialize;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct ErrorResponse {
    pub response_status: ResponseStatus,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct ResponseStatus {
    pub error_code: &'static str,
    pub message: String,
    pub errors: Vec<FieldError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<Meta>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct FieldError {
    pub error_code: &'static str,
    pub field_name: &'static str,
    pub message: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Meta {
    pub service_status: &'static str,
}
