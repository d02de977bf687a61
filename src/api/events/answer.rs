//! What a sender is told of each event.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use serde::Serialize;
use uuid::Uuid;

use super::forbidden;
use crate::api::format::JSON_TYPE;
use crate::api::reply;
use crate::ingest::decode::Rejection;

/// What became of an event.
pub(super) enum Fate {
    Accepted {
        id: String,
    },
    Rejected {
        id: Option<String>,
        rejection: Box<Rejection>,
    },
    /// The key is another service's.
    Forbidden {
        id: String,
        service: Uuid,
    },
}

impl Fate {
    pub fn rejected(id: Option<String>, rejection: Rejection) -> Self {
        Self::Rejected { id, rejection: rejection.into() }
    }
}

/// The fates of all events of a request, in their order.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    accepted: usize,
    rejected: usize,
    results: Vec<EventResult>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_status: Option<Told>,
}

#[derive(Serialize)]
struct EventResult {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// As other errors have it, for clients that look there.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    error_code: &'static str,
    message: String,
}

impl Answer {
    pub fn add(&mut self, fate: Fate) {
        let index = self.results.len();
        let result = match fate {
            Fate::Accepted { id } => {
                self.accepted += 1;
                EventResult { index, id: Some(id), status: "accepted", reason: None, message: None }
            }
            Fate::Rejected { id, rejection } => {
                let (reason, message) = (Some(rejection.reason.code()), Some(rejection.to_string()));
                EventResult { index, id, status: "rejected", reason, message }
            }
            Fate::Forbidden { id, service } => {
                let message = Some(forbidden(service));
                EventResult { index, id: Some(id), status: "rejected", reason: Some("forbidden"), message }
            }
        };
        self.results.push(result);
        self.rejected = self.results.len() - self.accepted;
    }

    /// 202 where all events are kept, 207 where some are, 400 where there are events and none is.
    pub fn into_response(mut self) -> Response<Body> {
        let status = match (self.accepted, self.rejected) {
            (_, 0) => StatusCode::ACCEPTED,
            (0, _) => StatusCode::BAD_REQUEST,
            _ => StatusCode::MULTI_STATUS,
        };
        if self.rejected > 0 {
            let message = format!("{} of {} events were rejected", self.rejected, self.results.len());
            self.response_status = Some(Told { error_code: "InvalidEvents", message });
        }
        let body = serde_json::to_vec(&self).expect("strings and numbers can be written as JSON");
        reply::response(status, JSON_TYPE, body)
    }
}
