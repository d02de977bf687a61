//! The HTTP API (`spec/api.md`). An operation is one file of `operations` and one line of `routes`.

mod auth;
mod error;
mod format;
mod operations;
mod params;
mod reply;
mod routes;
mod server;
mod wire;

use std::borrow::Cow;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Instant as Timer;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, header};
use axum::response::Response;
use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use tracing::{Instrument as _, Span, field};
use uuid::Uuid;

pub use auth::new_key;
pub use server::serve;

use crate::clock::Clock;
use crate::config::{self, ApiAuth};
use crate::model::{Instant, Zone};
use crate::store::Store;
use crate::usage::Reports;
use auth::Principal;
use error::ApiError;
use format::Format;
use params::Params;

/// What the API answers from.
#[derive(Debug)]
pub struct Api {
    /// None until the store was opened, which may take as long as its server does to be there.
    opened: OnceLock<Opened>,
    clock: Clock,
    zone: Zone,
    auth: ApiAuth,
    hide_forbidden: bool,
}

/// What takes a store.
#[derive(Debug)]
struct Opened {
    store: Store,
    reports: Reports,
}

impl Api {
    #[must_use]
    pub fn new(store: Store, clock: Clock, zone: Zone, config: &config::Api) -> Self {
        let api = Self::without_store(clock, zone, config);
        api.answer_from(store);
        api
    }

    /// What asks for the store is told to come back, until there is one to answer from.
    #[must_use]
    pub fn without_store(clock: Clock, zone: Zone, config: &config::Api) -> Self {
        Self { opened: OnceLock::new(), clock, zone, auth: config.auth, hide_forbidden: config.hide_forbidden }
    }

    /// Answers from this store from now on; the first that is given stays.
    pub fn answer_from(&self, store: Store) {
        let reports = Reports::new(store.clone(), self.clock, self.zone);
        self.opened.get_or_init(|| Opened { store, reports });
    }

    /// What answers for now, or for an instant.
    fn reports(&self, as_of: Option<DateTime<Utc>>) -> Result<Cow<'_, Reports>, ApiError> {
        let reports = &self.opened()?.reports;
        let Some(as_of) = as_of else { return Ok(Cow::Borrowed(reports)) };
        let now = self.clock.now();
        if as_of > now.to_utc() {
            let message = format!("AsOf is in the future; it is {}", now.to_rfc3339_seconds());
            return Err(ApiError::argument("AsOf", message));
        }
        // Nothing was stored before 1970, and no instant reaches back to the year 1.
        Ok(Cow::Owned(reports.clone().as_of(Instant::from_seconds(as_of.timestamp().max(0)))))
    }

    fn opened(&self) -> Result<&Opened, ApiError> {
        self.opened.get().ok_or(ApiError::StoreNotOpen)
    }
}

/// One request, as an operation gets it: routed, and its caller known.
struct Call {
    api: Arc<Api>,
    principal: Principal,
    params: Params,
    format: Format,
}

/// The operations that are served, each with its path below the prefix.
pub fn operations() -> impl Iterator<Item = (&'static str, &'static str)> {
    routes::ROUTES.iter().map(|route| (route.operation, route.path))
}

/// The API as a service. Our routes ignore case and empty segments and come under several prefixes, so that `routes` does
/// the matching and axum's router only carries it.
pub fn router(api: impl Into<Arc<Api>>) -> Router {
    Router::new().fallback(answer).with_state(api.into())
}

/// Answers any request: what holds for every answer, whatever came of it. No operation has a body to read, so that one that
/// is sent is dropped unread.
async fn answer(State(api): State<Arc<Api>>, request: Request) -> Response {
    let began = Timer::now();
    let (head, _) = request.into_parts();
    let (is_head, hide_forbidden) = (head.method == Method::HEAD, api.hide_forbidden);
    let request_id = Uuid::now_v7().simple().to_string();
    let span =
        tracing::info_span!("request", request_id, method = %head.method, operation = field::Empty, key = field::Empty);

    let performed = whole(perform(api, head).instrument(span.clone())).await;
    let mut response =
        performed.unwrap_or_else(|error| span.in_scope(|| error.into_response(hide_forbidden, &request_id)));

    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    // A report has a Last-Modified, from which a cache may otherwise guess that an open period's numbers will do for days.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        headers.insert("x-request-id", value);
    }
    if is_head {
        *response.body_mut() = axum::body::Body::empty();
    }
    let elapsed_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(parent: &span, status = response.status().as_u16(), elapsed_ms, "answered a request");
    response
}

/// Performs a request in a task of its own, so that a client that hangs up cancels no statement half-way; what waits for
/// nothing needs no task. A panic is an answer, too.
async fn whole(
    perform: impl Future<Output = Result<Response, ApiError>> + Send + 'static,
) -> Result<Response, ApiError> {
    let mut performing = Box::pin(AssertUnwindSafe(perform).catch_unwind());
    let performed = match poll_fn(|context| Poll::Ready(performing.as_mut().poll(context))).await {
        Poll::Ready(performed) => performed,
        Poll::Pending => {
            tokio::spawn(performing).await.unwrap_or_else(|cancelled| Err(Box::new(cancelled.to_string())))
        }
    };
    performed.unwrap_or_else(|panic| {
        let told = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(ApiError::Internal(told.unwrap_or("a panic").into()))
    })
}

/// Credentials come first: without them not even the routes are told.
async fn perform(api: Arc<Api>, head: Parts) -> Result<Response, ApiError> {
    let principal = auth::principal(&api, &head.headers).await?;
    if let Some(key) = &principal.key {
        Span::current().record("key", key);
    }
    let found = routes::find(routes::ROUTES, &head.method, head.uri.path())?;
    Span::current().record("operation", found.route.operation);
    if head.method == Method::OPTIONS {
        return Ok(reply::options());
    }
    let mut params = Params::new(found.route.operation, found.variables, head.uri.query());
    let (callback, in_query) = (params.text("callback"), params.text("format"));
    let format = found
        .suffix
        .or_else(|| Some(Format::jsonp(&callback?)))
        .or_else(|| Format::in_query(&in_query?))
        .or(found.format)
        .unwrap_or_else(|| Format::accepted(&head.headers));
    let is_csv = format == Format::Csv;
    let reply = (found.route.handler)(Call { api, principal, params, format }).await?;
    let mut response = reply.into_response(&head.headers);
    if is_csv {
        let disposition = format!("attachment;filename={}.csv", found.route.operation);
        reply::set(response.headers_mut(), header::CONTENT_DISPOSITION, &disposition);
    }
    Ok(response)
}
