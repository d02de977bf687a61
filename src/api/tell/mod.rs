//! What is told about the API, made from the tables that it is served by: routes, what operations take and give, and the wire's types.

mod dates;
mod events;
mod metadata;
mod openapi;
mod reference;
mod sample;

use super::Api;
use super::about::Gives;
use super::error::ApiError;
use super::format::Format;
use super::reply::Reply;
use super::routes::ROUTES;
use super::wire::document::Type;
use crate::model::Day;

/// What a browser may do with a page: show it. There is no script in any, and nothing from elsewhere.
pub(super) const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

const HTML: &str = "text/html; charset=utf-8";

/// A page about the API.
#[derive(Clone, Copy, Debug)]
pub(super) enum Page {
    /// `metadata`: the operations.
    Index,
    /// `{format}/metadata?op=X`: one of them, as the format has it.
    Operation(&'static str),
    /// `openapi.json`.
    OpenApi,
    /// `events/openapi.json`.
    OpenApiOfEvents,
    /// `docs`: all of it, to be read.
    Reference,
}

impl Page {
    /// The page at a path below the prefix.
    pub fn at(segments: &[String]) -> Option<Self> {
        let segments: Vec<String> = segments.iter().map(|segment| segment.to_ascii_lowercase()).collect();
        match segments.iter().map(String::as_str).collect::<Vec<&str>>().as_slice() {
            ["metadata"] => Some(Self::Index),
            ["openapi.json"] => Some(Self::OpenApi),
            ["events", "openapi.json"] => Some(Self::OpenApiOfEvents),
            ["docs"] => Some(Self::Reference),
            [format, "metadata"] => {
                ["json", "xml", "csv", "jsv"].into_iter().find(|name| name == format).map(Self::Operation)
            }
            _ => None,
        }
    }

    /// The names that there are.
    pub const NAMES: [&'static str; 4] = ["metadata", "openapi.json", "events/openapi.json", "docs"];

    /// The name that log and metrics have for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Index | Self::Operation(_) => "metadata",
            Self::OpenApi => "openapi.json",
            Self::OpenApiOfEvents => "events/openapi.json",
            Self::Reference => "docs",
        }
    }

    /// # Errors
    /// When an operation is asked for that is not there.
    pub fn reply(self, api: &Api, op: Option<&str>) -> Result<Reply, ApiError> {
        // What is past in both is past wherever an instant is cut to its date.
        let now = api.clock.now();
        let today = api.zone.day_of(now).min(Day::from_date(now.to_utc().date_naive()));
        Ok(match (self, op) {
            (Self::OpenApi, _) => Reply::whole(Format::Json.content_type(), openapi::reports(today)),
            (Self::OpenApiOfEvents, _) => {
                let earliest = api.opened()?.reading.config.ingest.earliest;
                Reply::whole(Format::Json.content_type(), events::document(earliest, today))
            }
            (Self::Reference, _) => Reply::whole(HTML, reference::page().into_string().into_bytes()),
            (Self::Index, _) | (Self::Operation(_), None) => {
                Reply::whole(HTML, metadata::index().into_string().into_bytes())
            }
            (Self::Operation(format), Some(op)) => {
                let route = ROUTES.iter().find(|route| route.operation.eq_ignore_ascii_case(op));
                let page = metadata::operation(route.ok_or(ApiError::NoSuchRoute)?, format);
                Reply::whole(HTML, page.into_string().into_bytes())
            }
        })
    }
}

/// A path with the prefix.
fn full_path(path: &str) -> String {
    format!("/api/{path}")
}

/// The types of what operations answer with, each as often as it is.
fn answered() -> impl Iterator<Item = &'static Type> {
    ROUTES.iter().filter_map(|route| match route.about.gives {
        Gives::Document(of) | Gives::Report(of) => Some(of),
        Gives::Rows => None,
    })
}
