//! What an operation that succeeded sends: its document, and in headers how final the numbers are (`spec/api.md`, section 6,
//! rules 8 and 14).

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LAST_MODIFIED};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::format::Format;
use super::routes;
use super::wire::document::Object;
use super::wire::value;
use crate::model::{Instant, RowState, UsageRow};

const USAGE_STATE: HeaderName = HeaderName::from_static("x-usage-state");
const USAGE_REVISION: HeaderName = HeaderName::from_static("x-usage-revision");
const USAGE_AS_OF: HeaderName = HeaderName::from_static("x-usage-as-of");

/// The document of an answer, as it is sent.
#[derive(Debug)]
pub(super) struct Reply {
    body: Vec<u8>,
    content_type: &'static str,
    standing: Option<Standing>,
}

/// What the figures of a report rest on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Standing {
    /// There is no row.
    Nothing,
    Row {
        state: RowState,
        revision: i64,
        computed_at: Instant,
    },
}

impl Standing {
    /// Of a list: the state of what is least final in it, the highest revision, and when it last changed.
    pub fn of_rows<'r>(rows: impl Iterator<Item = &'r UsageRow>) -> Self {
        rows.fold(Self::Nothing, |standing, row| match standing {
            Self::Nothing => Self::Row { state: row.state, revision: row.revision, computed_at: row.computed_at },
            Self::Row { state, revision, computed_at } => Self::Row {
                state: state.min(row.state),
                revision: revision.max(row.revision),
                computed_at: computed_at.max(row.computed_at),
            },
        })
    }

    fn headers(self) -> Vec<(HeaderName, String)> {
        match self {
            Self::Nothing => vec![(USAGE_STATE, "none".to_owned())],
            Self::Row { state, revision, computed_at } => vec![
                (USAGE_STATE, state.name().to_owned()),
                (USAGE_REVISION, revision.to_string()),
                (USAGE_AS_OF, value::date_time(computed_at)),
                (LAST_MODIFIED, value::http_date(computed_at)),
            ],
        }
    }
}

impl Reply {
    pub fn new(format: &Format, document: &Object<'_>) -> Self {
        Self { body: format.write(document), content_type: format.content_type(), standing: None }
    }

    /// Makes it a report, which has a standing and can be asked for again by its tag.
    pub fn with_standing(self, standing: Standing) -> Self {
        Self { standing: Some(standing), ..self }
    }

    /// The answer to a request with these headers: 304 where its sender has the document already. `If-Modified-Since` is not
    /// looked at: the directory's part of a report changes without its numbers being computed anew.
    pub fn into_response(self, request: &HeaderMap) -> Response<Body> {
        let Some(standing) = self.standing else { return response(StatusCode::OK, self.content_type, self.body) };
        let tag = format!("\"{}\"", &blake3::hash(&self.body).to_hex()[..32]);
        let mut response = if names_tag(request, &tag) {
            let mut unmodified = Response::new(Body::empty());
            *unmodified.status_mut() = StatusCode::NOT_MODIFIED;
            unmodified
        } else {
            response(StatusCode::OK, self.content_type, self.body)
        };
        for (name, value) in standing.headers().into_iter().chain([(ETAG, tag)]) {
            set(response.headers_mut(), name, &value);
        }
        response
    }
}

/// A document with the headers that belong to it.
pub(super) fn response(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<Body> {
    let length = HeaderValue::from(body.len());
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CONTENT_LENGTH, length);
    response
}

/// The answer to OPTIONS.
pub(super) fn options() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(routes::ALLOW));
    response
}

/// Whether `If-None-Match` names this tag, weakly compared as RFC 9110 (section 13.1.2) has it, or any.
fn names_tag(request: &HeaderMap, tag: &str) -> bool {
    let lists = request.get_all(IF_NONE_MATCH).into_iter().filter_map(|value| value.to_str().ok());
    // Our own tags hold no comma, so that one in another's can't be taken for ours.
    lists
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .any(|named| named == "*" || named.strip_prefix("W/").unwrap_or(named) == tag)
}

/// Sets a header to text that is always fit for one.
pub(super) fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_in_every_form_of_if_none_match() {
        let asks = |value: &'static str| {
            let headers = HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_static(value))]);
            names_tag(&headers, "\"a1\"")
        };
        assert!(asks("\"a1\"") && asks("W/\"a1\"") && asks("*") && asks("\"b2\", \"a1\"") && asks("\"b2\",W/\"a1\" "));
        assert!(!asks("a1") && !asks("\"A1\"") && !asks("") && !asks("\"b2\"") && !asks("w/\"a1\""));
    }
}
