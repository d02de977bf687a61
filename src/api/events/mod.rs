//! `POST /api/events`: events are sent to us, and acknowledged when they are durable (docs/events-over-http.md).

pub(super) mod about;
mod answer;
mod binding;

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::header::ALLOW;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, Response};
use uuid::Uuid;

use super::auth::Principal;
use super::error::ApiError;
use super::{Api, reply};
use crate::config;
use crate::ingest::decode::{Decoder, Reason, Rejection};
use crate::ingest::spool::{Spool, SpoolError};
use crate::store::Role;
pub(super) use answer::ANSWER;
use answer::{Answer, Fate};
use binding::{Form, Sent};

/// Below the prefix.
pub(super) const PATH: &str = "events";
/// For the log and the description of the API.
pub(super) const OPERATION: &str = "SendEvents";
pub(super) const METHODS: &str = "POST, OPTIONS";

/// So long may a body take to come.
const BODY_TIMEOUT: Duration = Duration::from_mins(1);
const REQUEST_ORIGIN: &str = "webhook-request-origin";
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

/// Where events come in: of a daemon, for a server that only reads has none.
#[derive(Debug)]
pub struct Door {
    spool: Spool,
    rules: config::Ingest,
}

impl Door {
    #[must_use]
    pub fn new(spool: Spool, rules: config::Ingest) -> Self {
        Self { spool, rules }
    }
}

/// Whether this is the path that events are sent to.
pub(super) fn is_at(segments: &[String]) -> bool {
    matches!(segments, [only] if only.eq_ignore_ascii_case(PATH))
}

/// Answers a request to that path.
///
/// # Errors
/// When the caller may send nothing, nothing can be read of what was sent, or it can't be kept at the moment: then nothing is
/// acknowledged. Events that are rejected are no error: each is told in the answer.
pub(super) async fn handle(
    api: &Api,
    principal: &Principal,
    head: Parts,
    body: Body,
) -> Result<Response<Body>, ApiError> {
    match head.method {
        Method::POST => {}
        Method::OPTIONS => return Ok(handshake(&head)),
        _ => return Err(ApiError::MethodNotAllowed(METHODS)),
    }
    let door = api.door()?;
    if !matches!(principal.role, Role::SuperUser | Role::Service) {
        return Err(ApiError::MayNotSend);
    }
    let form = Form::of(&head.headers)?;
    let most = door.rules.max_post_bytes;
    let body = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, most)).await.map_err(|_| ApiError::BodyTooSlow)?;
    let body = body.map_err(|_| ApiError::BodyTooLarge(most as u64))?;
    let body = binding::inflated(&head.headers, body.into(), most)?;
    let sent = form.events(&head.headers, &body)?;
    let (lines, answer) = door.examine(&sent, principal, api);
    if !lines.is_empty() {
        door.spool.keep(lines).await.map_err(ApiError::from)?;
    }
    Ok(answer.into_response())
}

/// A sender that follows the specification of webhooks asks first whether it may send
/// (CloudEvents, HTTP 1.1 Web Hooks for Event Delivery, section 4).
fn handshake(head: &Parts) -> Response<Body> {
    let mut response = reply::options();
    let headers = response.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static(METHODS));
    if let Some(origin) = head.headers.get(REQUEST_ORIGIN) {
        headers.insert(ALLOWED_ORIGIN, origin.clone());
        headers.insert(ALLOWED_RATE, HeaderValue::from_static("*"));
    }
    response
}

impl Door {
    /// Holds each event against what files are held against. Gives the lines to keep, and what the sender is told.
    fn examine(&self, sent: &Sent<'_>, principal: &Principal, api: &Api) -> (Vec<u8>, Answer) {
        let decoder = Decoder::for_now(&self.rules, api.clock.now());
        let (mut lines, mut answer) = (Vec::new(), Answer::default());
        for text in sent.events() {
            let fate = self.fate(&decoder, text, principal);
            if matches!(fate, Fate::Accepted { .. }) {
                // White space between members; within strings there is none of these, or the event would have been rejected.
                lines.extend(text.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
                lines.push(b'\n');
            }
            answer.add(fate);
        }
        (lines, answer)
    }

    fn fate(&self, decoder: &Decoder, text: &[u8], principal: &Principal) -> Fate {
        if text.len() > self.rules.max_line_bytes {
            let detail =
                format!("{} bytes, and ingest.max_line_bytes allows {}", text.len(), self.rules.max_line_bytes);
            return Fate::rejected(None, Rejection::new(Reason::LineTooLong, "", detail));
        }
        match decoder.decode(text) {
            Err(rejection) => Fate::rejected(binding::id(text), rejection),
            Ok(event) if principal.role == Role::Service && Some(event.service) != principal.scope => {
                Fate::Forbidden { id: event.id.into_owned(), service: event.service }
            }
            Ok(event) => Fate::Accepted { id: event.id.into_owned() },
        }
    }
}

impl Api {
    fn door(&self) -> Result<&Door, ApiError> {
        match self.door.get() {
            Some(door) => Ok(door),
            None if self.opened.get().is_none() => Err(ApiError::StoreNotOpen),
            None => Err(ApiError::TakesNoEvents),
        }
    }
}

impl From<SpoolError> for ApiError {
    fn from(error: SpoolError) -> Self {
        Self::SpoolFull(error)
    }
}

/// The service that a key was not made for.
fn forbidden(service: Uuid) -> String {
    format!("this key may not send events of the service {}", service.simple())
}
