//! `ResponseStatus`, which errors are told in: exactly these members, and never a report beside them that somebody could
//! bill (`spec/api.md`, section 6, Errors).

use serde::Serialize;

use super::document::{Kind, Member, RESPONSE_STATUS, Type};
use super::service::STATUS;

/// The member that every response has, for what is told about the API.
pub(in crate::api) const MEMBER: Member = Member::if_set(RESPONSE_STATUS, Kind::Object(&TYPE));

static TYPE: Type = Type {
    name: "ResponseStatus",
    members: &[
        Member::always("ErrorCode", Kind::Text),
        Member::always("Message", Kind::Text),
        Member::always("Errors", Kind::List(&FIELD_ERROR)),
        Member::if_set("Meta", Kind::Object(&META)),
    ],
    base: None,
};
static FIELD_ERROR: Type = Type {
    name: "ResponseError",
    members: &[
        Member::always("ErrorCode", Kind::Text),
        Member::always("FieldName", Kind::Text),
        Member::always("Message", Kind::Text),
    ],
    base: None,
};
static META: Type =
    Type { name: "ResponseMeta", members: &[Member::always("ServiceStatus", Kind::Choice(&STATUS))], base: None };
/// What an error is told in, for what is told about the API.
pub(in crate::api) static ERROR_RESPONSE: Type =
    Type { name: "ErrorResponse", members: &[Member::always(RESPONSE_STATUS, Kind::Object(&TYPE))], base: None };

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
