//! What can go wrong, and the one place that says how a client is told (`spec/api.md`, section 6, Errors).

use std::borrow::Cow;
use std::error::Error as StdError;

use axum::body::Body;
use axum::http::header::{ACCEPT_ENCODING, ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use uuid::Uuid;

use super::format::JSON_TYPE;
use super::reply;
use super::wire::response_status::{ErrorResponse, FieldError, Meta, ResponseStatus};
use crate::ingest::spool::SpoolError;
use crate::model::ServiceStatus;
use crate::store::StoreError;
use crate::usage::UsageError;

/// Seconds until a client may find the store there again.
const RETRY_AFTER_SECONDS: &str = "5";
/// RFC 5789's sibling for POST, as the W3C's Linked Data Platform names it.
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
const EVENT_TYPES: &str =
    "application/cloudevents+json, application/cloudevents-batch+json, application/x-ndjson, application/json";
/// A key may come as a bearer token, or as the password of Basic, which some clients send only when they are asked for it.
const CHALLENGES: [&str; 2] = [r#"Bearer realm="usage-rollup""#, r#"Basic realm="usage-rollup", charset="UTF-8""#];

#[derive(Debug)]
pub(super) enum ApiError {
    NoKey,
    /// Unknown, expired or revoked: whoever holds no valid key is not told which.
    BadKey,
    NoSuchRoute,
    /// The path takes these methods.
    MethodNotAllowed(&'static str),
    /// Keys of partners and resellers only read.
    MayNotSend,
    /// This server only reads.
    TakesNoEvents,
    /// The content type is none of those that events have.
    NoEvents,
    UnknownEncoding,
    BodyTooSlow,
    SpoolFull(SpoolError),
    /// The path with its query has more bytes than this.
    TargetTooLong(usize),
    /// The body has more bytes than this.
    BodyTooLarge(u64),
    /// One request too many of a key; so many seconds later it is none.
    TooMany(u64),
    Malformed {
        operation: &'static str,
        bad: Vec<BadParameter>,
    },
    /// Fields that can be read and make no sense, and why.
    Arguments(Vec<(&'static str, String)>),
    /// What is not there: its kind and its GUID.
    NoSuch(&'static str, Uuid),
    OutOfScope(&'static str, Uuid),
    /// What only a SuperUser may ask for.
    NotForThisRole,
    /// The service is Blocked or Provisioning; only for a caller who may see it.
    UsageHidden(ServiceStatus),
    StoreOutOfReach(StoreError),
    /// It was never there since we started; the daemon's log says why.
    StoreNotOpen,
    Internal(Box<dyn StdError + Send + Sync>),
}

/// A parameter that can't be read, as it was sent.
#[derive(Debug)]
pub(super) struct BadParameter {
    /// As in the route.
    pub name: &'static str,
    pub value: String,
}

/// What a client is told.
struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
    errors: Vec<FieldError>,
    meta: Option<Meta>,
    headers: Vec<(HeaderName, Cow<'static, str>)>,
}

impl ApiError {
    pub fn argument(field: &'static str, message: impl Into<String>) -> Self {
        Self::Arguments(vec![(field, message.into())])
    }

    /// Tells the client, and the log where we are to blame: the two get different texts, which share the request's id.
    pub fn into_response(self, hide_forbidden: bool, request_id: &str) -> Response<Body> {
        match &self {
            Self::StoreOutOfReach(error) => tracing::error!(?error, "the store is out of reach"),
            Self::Internal(error) => tracing::error!(?error, "a request failed"),
            Self::SpoolFull(error) => tracing::warn!(%error, "events were refused"),
            _ => {}
        }
        self.problem(hide_forbidden, request_id).into_response()
    }

    fn problem(self, hide_forbidden: bool, request_id: &str) -> Problem {
        match self {
            Self::NoKey => unauthorized("an API key is needed: send it as a bearer token"),
            Self::BadKey => unauthorized("the API key is not valid"),
            Self::NoSuchRoute => Problem::new(StatusCode::NOT_FOUND, "NotFound", "there is no such route"),
            Self::MethodNotAllowed(methods) => {
                let message = format!("this route takes {methods}");
                Problem::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message).with_header(ALLOW, methods)
            }
            Self::MayNotSend => Problem::new(
                StatusCode::FORBIDDEN,
                "Forbidden",
                "events are sent with the key of a SuperUser or of their service",
            ),
            Self::TakesNoEvents => {
                let message = "this server only reads; events are sent to the one that `usage-rollup run` has started";
                Problem::new(StatusCode::NOT_FOUND, "NotFound", message)
            }
            Self::NoEvents => {
                let message = "events come as application/cloudevents+json, application/cloudevents-batch+json, application/x-ndjson, or as JSON with ce-* headers; in UTF-8";
                Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
                    .with_header(ACCEPT_POST, EVENT_TYPES)
            }
            Self::UnknownEncoding => Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "UnsupportedMediaType",
                "a body may be encoded with gzip or zstd",
            )
            .with_header(ACCEPT_ENCODING, "gzip, zstd"),
            Self::BodyTooSlow => {
                Problem::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeout", "the body did not come in time")
            }
            Self::SpoolFull(error) => {
                let message = match error {
                    SpoolError::Full { .. } => "more events wait to be ingested than may; send them again later",
                    SpoolError::Busy => "too many requests wait for the disk; send the events again later",
                    SpoolError::Closed => "the server is stopping; send the events again later",
                    SpoolError::Io(_) => "the events can't be kept at the moment; send them again later",
                };
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
                    .with_header(RETRY_AFTER, RETRY_AFTER_SECONDS)
            }
            Self::TargetTooLong(most) => {
                let message = format!("path and query are longer than {most} bytes, which api.max_target_bytes allows");
                Problem::new(StatusCode::URI_TOO_LONG, "UriTooLong", message)
            }
            Self::BodyTooLarge(most) => {
                let message = format!("the body is larger than {most} bytes");
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
            }
            Self::TooMany(seconds) => {
                let message = format!("too many requests with this key; the next may come in {seconds} s");
                Problem::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message)
                    .with_header(RETRY_AFTER, seconds.to_string())
            }
            Self::Malformed { operation, bad } => malformed(operation, bad),
            Self::Arguments(refused) => refused_arguments(refused),
            Self::OutOfScope(kind, guid) if hide_forbidden => {
                Self::NoSuch(kind, guid).problem(hide_forbidden, request_id)
            }
            Self::NoSuch(kind, guid) => {
                let message = format!("there is no {kind} {}", guid.simple());
                Problem::new(StatusCode::NOT_FOUND, "NotFound", message)
            }
            Self::OutOfScope(kind, guid) => {
                let message = format!("this key may not see the {kind} {}", guid.simple());
                Problem::new(StatusCode::FORBIDDEN, "Forbidden", message)
            }
            Self::NotForThisRole => {
                Problem::new(StatusCode::FORBIDDEN, "Forbidden", "this takes the key of a SuperUser")
            }
            Self::UsageHidden(status) => {
                let message = format!("the service is {}: its usage is not reported", status.name());
                let meta = Some(Meta { service_status: status.name() });
                Problem { meta, ..Problem::new(StatusCode::FORBIDDEN, "Forbidden", message) }
            }
            Self::StoreOutOfReach(_) | Self::StoreNotOpen => {
                let message = "the store can't be reached at the moment";
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
                    .with_header(RETRY_AFTER, RETRY_AFTER_SECONDS)
            }
            Self::Internal(_) => {
                let message = format!("the request failed; the log says why, under the request id {request_id}");
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", message)
            }
        }
    }
}

fn unauthorized(message: &str) -> Problem {
    let problem = Problem::new(StatusCode::UNAUTHORIZED, "Unauthorized", message);
    CHALLENGES.into_iter().fold(problem, |problem, challenge| problem.with_header(WWW_AUTHENTICATE, challenge))
}

/// As ServiceStack has it (`spec/servicestack-wire.md`, Errors).
fn malformed(operation: &'static str, bad: Vec<BadParameter>) -> Problem {
    let code = "SerializationException";
    let error = |BadParameter { name, value }| {
        let message = format!("'{value}' is an Invalid value for '{name}'");
        FieldError { error_code: code, field_name: name, message }
    };
    let errors = bad.into_iter().map(error).collect();
    let message = format!("Unable to bind to request '{operation}'");
    Problem { errors, ..Problem::new(StatusCode::BAD_REQUEST, code, message) }
}

fn refused_arguments(refused: Vec<(&'static str, String)>) -> Problem {
    let code = "ArgumentException";
    let messages: Vec<&str> = refused.iter().map(|(_, message)| message.as_str()).collect();
    let message = messages.join("; ");
    let errors = refused.into_iter().map(|(field_name, message)| FieldError { error_code: code, field_name, message });
    Problem { errors: errors.collect(), ..Problem::new(StatusCode::BAD_REQUEST, code, message) }
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), errors: Vec::new(), meta: None, headers: Vec::new() }
    }

    fn with_header(mut self, name: HeaderName, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn into_response(self) -> Response<Body> {
        let Self { status, code, message, errors, meta, headers } = self;
        let document = ErrorResponse { response_status: ResponseStatus { error_code: code, message, errors, meta } };
        let body = serde_json::to_vec(&document).expect("strings can be written as JSON");
        let mut response = reply::response(status, JSON_TYPE, body);
        for (name, value) in headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().append(name, value);
            }
        }
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        if error.is_out_of_reach() { Self::StoreOutOfReach(error) } else { Self::Internal(error.into()) }
    }
}

impl From<UsageError> for ApiError {
    fn from(error: UsageError) -> Self {
        match error {
            UsageError::NoSuchService(service) => Self::NoSuch("service", service),
            UsageError::PeriodInFuture { .. } => Self::argument("Period", error.to_string()),
            UsageError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::super::routes;
    use super::*;

    fn told(error: ApiError, hide_forbidden: bool) -> String {
        let response = error.into_response(hide_forbidden, "1d");
        let (head, body) = response.into_parts();
        let names = [WWW_AUTHENTICATE, ALLOW, RETRY_AFTER];
        let headers = names.iter().flat_map(|name| head.headers.get_all(name)).map(|value| value.to_str().unwrap());
        let headers: Vec<&str> = headers.collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let body = runtime.block_on(body.collect()).unwrap().to_bytes();
        format!("{} {headers:?} {}", head.status.as_u16(), std::str::from_utf8(&body).unwrap())
    }

    #[test]
    fn every_error_has_its_status_its_code_and_nothing_of_the_inside() {
        let guid = Uuid::from_u128(7);
        let bad = |name, value: &str| BadParameter { name, value: value.to_owned() };
        let malformed = ApiError::Malformed {
            operation: "GetServiceUsage",
            bad: vec![bad("ServiceGuid", "x\"y"), bad("Period", "soon")],
        };
        let lines = [
            told(ApiError::NoKey, false),
            told(ApiError::BadKey, false),
            told(ApiError::NoSuchRoute, false),
            told(ApiError::MethodNotAllowed(routes::ALLOW), false),
            told(malformed, false),
            told(ApiError::argument("Period", "too late"), false),
            told(ApiError::NoSuch("service", guid), false),
            told(ApiError::OutOfScope("reseller", guid), false),
            told(ApiError::UsageHidden(ServiceStatus::Blocked), true),
            told(StoreError::Missing { path: "secret.db".into() }.into(), false),
            told(ApiError::StoreNotOpen, false),
            told(StoreError::Inconsistent("secret".to_owned()).into(), false),
        ];
        insta::assert_snapshot!(lines.join("\n"), @r#"
        401 ["Bearer realm=\"usage-rollup\"", "Basic realm=\"usage-rollup\", charset=\"UTF-8\""] {"responseStatus":{"errorCode":"Unauthorized","message":"an API key is needed: send it as a bearer token","errors":[]}}
        401 ["Bearer realm=\"usage-rollup\"", "Basic realm=\"usage-rollup\", charset=\"UTF-8\""] {"responseStatus":{"errorCode":"Unauthorized","message":"the API key is not valid","errors":[]}}
        404 [] {"responseStatus":{"errorCode":"NotFound","message":"there is no such route","errors":[]}}
        405 ["GET, HEAD, OPTIONS"] {"responseStatus":{"errorCode":"MethodNotAllowed","message":"this route takes GET, HEAD, OPTIONS","errors":[]}}
        400 [] {"responseStatus":{"errorCode":"SerializationException","message":"Unable to bind to request 'GetServiceUsage'","errors":[{"errorCode":"SerializationException","fieldName":"ServiceGuid","message":"'x\"y' is an Invalid value for 'ServiceGuid'"},{"errorCode":"SerializationException","fieldName":"Period","message":"'soon' is an Invalid value for 'Period'"}]}}
        400 [] {"responseStatus":{"errorCode":"ArgumentException","message":"too late","errors":[{"errorCode":"ArgumentException","fieldName":"Period","message":"too late"}]}}
        404 [] {"responseStatus":{"errorCode":"NotFound","message":"there is no service 00000000000000000000000000000007","errors":[]}}
        403 [] {"responseStatus":{"errorCode":"Forbidden","message":"this key may not see the reseller 00000000000000000000000000000007","errors":[]}}
        403 [] {"responseStatus":{"errorCode":"Forbidden","message":"the service is Blocked: its usage is not reported","errors":[],"meta":{"serviceStatus":"Blocked"}}}
        503 ["5"] {"responseStatus":{"errorCode":"ServiceUnavailable","message":"the store can't be reached at the moment","errors":[]}}
        503 ["5"] {"responseStatus":{"errorCode":"ServiceUnavailable","message":"the store can't be reached at the moment","errors":[]}}
        500 [] {"responseStatus":{"errorCode":"InternalServerError","message":"the request failed; the log says why, under the request id 1d","errors":[]}}
        "#);
    }
}
