//! What an operation that succeeded sends: its document, and in headers how final the numbers are (`spec/api.md`, section 6,
//! rules 8 and 14).

use axum::body::Body;
use axum::http::header::{
    ALLOW, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LAST_MODIFIED,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use twox_hash::XxHash3_128;

use super::encoding::Encoding;
use super::error::ApiError;
use super::format::Format;
use super::routes;
use super::wire::document::Object;
use super::wire::value;
use crate::model::{Instant, RowState, UsageRow};

const USAGE_STATE: HeaderName = HeaderName::from_static("x-usage-state");
const USAGE_REVISION: HeaderName = HeaderName::from_static("x-usage-revision");
const USAGE_AS_OF: HeaderName = HeaderName::from_static("x-usage-as-of");

/// The document of an answer, as it is sent.
pub(super) struct Reply {
    body: Content,
    content_type: &'static str,
    standing: Option<Standing>,
    /// Under which name a browser saves it.
    file: Option<String>,
}

/// Makes a body in an encoding.
type Streamed = Box<dyn FnOnce(Encoding) -> Body + Send>;

enum Content {
    Whole(Vec<u8>),
    Stream(Streamed),
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
        Self::whole(format.content_type(), format.write(document))
    }

    pub fn whole(content_type: &'static str, body: Vec<u8>) -> Self {
        Self { body: Content::Whole(body), content_type, standing: None, file: None }
    }

    /// One that comes bit by bit, so that nobody knows its length.
    pub fn stream(content_type: &'static str, body: Streamed) -> Self {
        Self { body: Content::Stream(body), content_type, standing: None, file: None }
    }

    /// Makes it a report, which has a standing and can be asked for again by its tag.
    pub fn with_standing(self, standing: Standing) -> Self {
        Self { standing: Some(standing), ..self }
    }

    pub fn saved_as(self, file: String) -> Self {
        Self { file: Some(file), ..self }
    }

    /// The answer to a request with these headers: 304 where its sender has the document already. `If-Modified-Since` is not
    /// looked at: the directory's part of a report changes without its numbers being computed anew.
    pub fn into_response(self, request: &HeaderMap) -> Result<Response<Body>, ApiError> {
        let Self { body, content_type, standing, file } = self;
        let (mut answer, encoding, tag) = match body {
            Content::Stream(body) => {
                let encoding = Encoding::accepted(request);
                (streamed(content_type, body(encoding)), encoding, None)
            }
            Content::Whole(body) => {
                let encoding = Encoding::accepted(request).for_length(body.len());
                // Each encoding is a representation of its own, with a tag of its own.
                let tag = standing.map(|_| tag(&body, encoding));
                if tag.as_deref().is_some_and(|tag| names_tag(request, tag)) {
                    (unmodified(), Encoding::Identity, tag)
                } else {
                    let body = encoding.encode(body).map_err(|error| ApiError::Internal(error.into()))?;
                    (response(StatusCode::OK, content_type, body), encoding, tag)
                }
            }
        };
        let headers = answer.headers_mut();
        if let Some(encoding) = encoding.name() {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        let standing = standing.into_iter().flat_map(Standing::headers);
        let tag = tag.map(|tag| (ETAG, tag));
        let file = file.map(|file| (CONTENT_DISPOSITION, format!("attachment;filename={file}")));
        for (name, value) in standing.chain(tag).chain(file) {
            set(headers, name, &value);
        }
        Ok(answer)
    }
}

/// What tells this representation from all others.
fn tag(body: &[u8], encoding: Encoding) -> String {
    // Nobody gains by two documents with one tag, so it need not withstand anybody.
    let hash = XxHash3_128::oneshot(body);
    encoding.name().map_or_else(|| format!("\"{hash:032x}\""), |encoding| format!("\"{hash:032x}-{encoding}\""))
}

fn streamed(content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn unmodified() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response
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
