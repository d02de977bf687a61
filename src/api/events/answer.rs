//! What a sender is told of each event.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use serde::Serialize;
use uuid::Uuid;

use super::forbidden;
use crate::api::format::JSON_TYPE;
use crate::api::reply;
use crate::api::wire::document::{Choice, Kind, Member, RESULTS, Type, WITH_RESPONSE_STATUS};
use crate::api::wire::response_status::ResponseStatus;
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
    /// As errors have it, for clients that look there.
    #[serde(skip_serializing_if = "Option::is_none")]
    response_status: Option<ResponseStatus>,
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

/// What a sender gets, for what is told about the API.
pub(in crate::api) static ANSWER: Type = Type {
    name: "SendEventsResponse",
    members: &[
        Member::always("Accepted", Kind::Integer),
        Member::always("Rejected", Kind::Integer),
        Member::always(RESULTS, Kind::List(&RESULT)),
    ],
    base: Some(&WITH_RESPONSE_STATUS),
};
static RESULT: Type = Type {
    name: "SentEvent",
    members: &[
        Member::always("Index", Kind::Integer),
        Member::if_set("Id", Kind::Text),
        Member::always("Status", Kind::Choice(&STATUS)),
        Member::if_set("Reason", Kind::Text),
        Member::if_set("Message", Kind::Text),
    ],
    base: None,
};
static STATUS: Choice = Choice { name: "SentEventStatus", values: &[ACCEPTED, REJECTED] };
const ACCEPTED: &str = "accepted";
const REJECTED: &str = "rejected";

impl Answer {
    pub fn add(&mut self, fate: Fate) {
        let index = self.results.len();
        let result = match fate {
            Fate::Accepted { id } => {
                self.accepted += 1;
                EventResult { index, id: Some(id), status: ACCEPTED, reason: None, message: None }
            }
            Fate::Rejected { id, rejection } => {
                let (reason, message) = (Some(rejection.reason.code()), Some(rejection.to_string()));
                EventResult { index, id, status: REJECTED, reason, message }
            }
            Fate::Forbidden { id, service } => {
                let message = Some(forbidden(service));
                EventResult { index, id: Some(id), status: REJECTED, reason: Some("forbidden"), message }
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
            self.response_status =
                Some(ResponseStatus { error_code: "InvalidEvents", message, errors: Vec::new(), meta: None });
        }
        let body = serde_json::to_vec(&self).expect("strings and numbers can be written as JSON");
        reply::response(status, JSON_TYPE, body)
    }
}
