//! The HTTP API (`spec/api.md`). An operation is one file of `operations` and one line of `routes`.

mod about;
mod auth;
mod cors;
mod encoding;
mod error;
mod events;
mod format;
mod operations;
mod operators;
mod params;
mod rate;
mod reply;
mod routes;
mod server;
mod tell;
mod wire;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Instant as Timer;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, header};
use axum::response::Response;
use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use tokio::sync::Semaphore;
use tracing::{Instrument as _, Span, field};
use uuid::Uuid;

pub use auth::new_key;
pub use events::Door;
pub use server::{Bounds, serve};

use crate::audit::user_usage::UserUsage;
use crate::clock::Clock;
use crate::config::{self, ApiAuth, MetricsAccess};
use crate::jobs::{self, Reading};
use crate::model::{Day, Instant, PeriodType, Zone};
use crate::observe::{NO_OPERATION, Observer};
use crate::store::{Store, StoreError};
use crate::usage::Reports;
use about::Gives;
use auth::Principal;
use error::ApiError;
use format::Format;
use params::Params;
use rate::{Counted, Rate};
use reply::Reply;
use routes::Route;

/// What the API answers from.
#[derive(Debug)]
pub struct Api {
    /// None until the store was opened, which may take as long as its server does to be there.
    opened: OnceLock<Opened>,
    /// None where no events are taken.
    door: OnceLock<Door>,
    clock: Clock,
    zone: Zone,
    auth: ApiAuth,
    hide_forbidden: bool,
    rate: Option<Rate>,
    cors_origins: Vec<String>,
    max_target_bytes: usize,
    max_body_bytes: u64,
    metrics: MetricsAccess,
    observer: Observer,
}

/// So many requests at a time read the event log, each on a thread: others wait.
const READERS_OF_THE_LOG: usize = 2;

/// What takes an installation.
#[derive(Debug)]
struct Opened {
    store: Store,
    reports: Reports,
    reading: Reading,
    readers: Semaphore,
}

impl Api {
    #[must_use]
    pub fn new(reading: Reading) -> Self {
        let api = Self::without_store(reading.clock, reading.config.reporting.timezone, &reading.config.api);
        api.answer_from(reading);
        api
    }

    /// What asks for the store is told to come back, until there is one to answer from.
    #[must_use]
    pub fn without_store(clock: Clock, zone: Zone, config: &config::Api) -> Self {
        Self {
            opened: OnceLock::new(),
            door: OnceLock::new(),
            clock,
            zone,
            auth: config.auth,
            hide_forbidden: config.hide_forbidden,
            rate: config.requests_per_second.map(|per_second| Rate::new(per_second, config.requests_at_once)),
            cors_origins: config.cors_origins.clone(),
            max_target_bytes: config.max_target_bytes,
            max_body_bytes: config.max_body_bytes,
            metrics: config.metrics,
            observer: Observer::new(
                routes::ROUTES.iter().map(|route| route.operation).chain(tell::Page::NAMES).collect(),
            ),
        }
    }

    /// Answers from this installation from now on; the first that is given stays.
    pub fn answer_from(&self, reading: Reading) {
        let store = reading.store.clone();
        let reports = Reports::new(store.clone(), self.clock, self.zone);
        self.opened.get_or_init(|| Opened { store, reports, reading, readers: Semaphore::new(READERS_OF_THE_LOG) });
    }

    /// Takes events from now on.
    pub fn take_events(&self, door: Door) {
        self.door.get_or_init(|| door);
    }

    /// What a service's users did, from the event log.
    async fn user_usage(
        &self,
        service: Uuid,
        period_type: PeriodType,
        period: Day,
    ) -> Result<BTreeMap<Uuid, UserUsage>, ApiError> {
        let Opened { reading, readers, .. } = self.opened()?;
        let _turn = readers.acquire().await.map_err(|error| ApiError::Internal(error.into()))?;
        let users = jobs::user_usage(reading, service, period_type, period).await;
        users.map_err(|error| match error.downcast::<StoreError>() {
            Ok(error) => error.into(),
            Err(error) => ApiError::Internal(error.into()),
        })
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

    /// The installation, where it is open.
    fn reading(&self) -> Option<&Reading> {
        self.opened.get().map(|opened| &opened.reading)
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
    routes::for_operators().fallback(answer).with_state(api.into())
}

/// Answers any request: what holds for every answer, whatever came of it. Only events have a body to read; another one that is sent
/// is dropped unread.
async fn answer(State(api): State<Arc<Api>>, request: Request) -> Response {
    let began = Timer::now();
    let (head, body) = request.into_parts();
    let (is_head, hide_forbidden) = (head.method == Method::HEAD, api.hide_forbidden);
    let request_id = Uuid::now_v7().simple().to_string();
    let span =
        tracing::info_span!("request", request_id, method = %head.method, operation = field::Empty, key = field::Empty);

    let origin = cors::allowed(&api.cors_origins, &head.headers);
    let vary = if api.cors_origins.is_empty() { "Accept, Accept-Encoding" } else { "Accept, Accept-Encoding, Origin" };
    let Performed { operation, counted, result } = if origin.is_some() && cors::is_preflight(&head) {
        Performed::early(Ok(cors::preflight()))
    } else {
        whole(perform(api.clone(), head, body).instrument(span.clone())).await
    };
    let mut response =
        result.unwrap_or_else(|error| span.in_scope(|| error.into_response(hide_forbidden, &request_id)));

    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static(vary));
    // A report has a Last-Modified, from which a cache may otherwise guess that an open period's numbers will do for days.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(counted) = counted {
        counted.tell(headers);
    }
    if let Some(origin) = origin {
        cors::allow(headers, origin);
    }
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        headers.insert("x-request-id", value);
    }
    if is_head {
        *response.body_mut() = Body::empty();
    }
    let elapsed = began.elapsed();
    api.observer.requests.add(operation, response.status().as_u16(), elapsed);
    let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    tracing::info!(parent: &span, status = response.status().as_u16(), elapsed_ms, "answered a request");
    response
}

/// What came of a request.
struct Performed {
    operation: &'static str,
    /// Where requests are counted.
    counted: Option<Counted>,
    result: Result<Response, ApiError>,
}

impl Performed {
    /// Before anybody knew what it was for.
    fn early(result: Result<Response, ApiError>) -> Self {
        Self { operation: NO_OPERATION, counted: None, result }
    }
}

/// Performs a request in a task of its own, so that a client that hangs up cancels no statement half-way; what waits for
/// nothing needs no task. A panic is an answer, too.
async fn whole(perform: impl Future<Output = Performed> + Send + 'static) -> Performed {
    let mut performing = Box::pin(AssertUnwindSafe(perform).catch_unwind());
    let performed = match poll_fn(|context| Poll::Ready(performing.as_mut().poll(context))).await {
        Poll::Ready(performed) => performed,
        Poll::Pending => {
            tokio::spawn(performing).await.unwrap_or_else(|cancelled| Err(Box::new(cancelled.to_string())))
        }
    };
    performed.unwrap_or_else(|panic| {
        let told = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Performed::early(Err(ApiError::Internal(told.unwrap_or("a panic").into())))
    })
}

/// Credentials come first: without them not even the routes are told.
async fn perform(api: Arc<Api>, head: Parts, body: Body) -> Performed {
    let admitted = match within_bounds(&api, &head) {
        Ok(()) => auth::principal(&api, &head.headers).await,
        Err(error) => Err(error),
    };
    let principal = match admitted {
        Ok(principal) => principal,
        Err(error) => return Performed::early(Err(error)),
    };
    if let Some(key) = &principal.key {
        Span::current().record("key", key);
    }
    let counted = api.rate.as_ref().zip(principal.key.as_ref()).map(|(rate, key)| rate.count(key));
    let (counted, refused) = match counted {
        None => (None, None),
        Some((counted, Ok(()))) => (Some(counted), None),
        Some((counted, Err(seconds))) => (Some(counted), Some(ApiError::TooMany(seconds))),
    };
    let mut operation = NO_OPERATION;
    let result = match refused {
        Some(error) => Err(error),
        None => admit(api, principal, head, body, &mut operation).await,
    };
    Performed { operation, counted, result }
}

/// A request is refused before anything of it is looked at, where there is too much of it.
fn within_bounds(api: &Api, head: &Parts) -> Result<(), ApiError> {
    let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
    if path.len() + query.len() > api.max_target_bytes {
        return Err(ApiError::TargetTooLong(api.max_target_bytes));
    }
    if takes_events(head) {
        // Its body is bounded where it is read.
        return Ok(());
    }
    let body = head.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if body.is_some_and(|body| body > api.max_body_bytes) {
        return Err(ApiError::BodyTooLarge(api.max_body_bytes));
    }
    Ok(())
}

fn takes_events(head: &Parts) -> bool {
    events::is_at(&routes::below_prefix(head.uri.path()))
}

/// Performs a request of a caller who is known, and tells which operation that is.
async fn admit(
    api: Arc<Api>,
    principal: Principal,
    head: Parts,
    body: Body,
    told: &mut &'static str,
) -> Result<Response, ApiError> {
    if head.method == Method::OPTIONS && head.uri.path() == "*" {
        return Ok(reply::options());
    }
    if takes_events(&head) {
        *told = events::OPERATION;
        Span::current().record("operation", events::OPERATION);
        return events::handle(&api, &principal, head, body).await;
    }
    let found = match routes::find(routes::ROUTES, &head.method, head.uri.path()) {
        Err(ApiError::NoSuchRoute) => return tell_page(&api, &head, told),
        found => found?,
    };
    let Route { operation, about, handler, .. } = *found.route;
    *told = operation;
    Span::current().record("operation", operation);
    if head.method == Method::OPTIONS {
        return Ok(reply::options());
    }
    let mut params = Params::new(operation, about.takes, found.variables, head.uri.query());
    if matches!(about.gives, Gives::Rows) {
        return rows(found.suffix.or(found.format), handler(Call { api, principal, params, format: Format::Csv }))
            .await?
            .into_response(&head.headers);
    }
    let (callback, in_query) = (params.common("callback"), params.common("format"));
    let format = found
        .suffix
        .or_else(|| Some(Format::jsonp(&callback?)))
        .or_else(|| Format::in_query(&in_query?))
        .or(found.format)
        .unwrap_or_else(|| Format::accepted(&head.headers));
    let is_csv = format == Format::Csv;
    let reply = handler(Call { api, principal, params, format }).await?;
    let reply = if is_csv { reply.saved_as(format!("{operation}.csv")) } else { reply };
    reply.into_response(&head.headers)
}

/// Rows have formats of their own, which the operation reads; a path may name CSV alone.
async fn rows(
    in_path: Option<Format>,
    handled: impl Future<Output = Result<Reply, ApiError>>,
) -> Result<Reply, ApiError> {
    match in_path {
        None | Some(Format::Csv) => handled.await,
        Some(_) => Err(ApiError::NoSuchRoute),
    }
}

/// Answers with a page about the API, which there is beside the routes.
fn tell_page(api: &Api, head: &Parts, told: &mut &'static str) -> Result<Response, ApiError> {
    let page = tell::Page::at(&routes::below_prefix(head.uri.path())).ok_or(ApiError::NoSuchRoute)?;
    *told = page.name();
    Span::current().record("operation", page.name());
    match head.method {
        Method::GET | Method::HEAD => {}
        Method::OPTIONS => return Ok(reply::options()),
        _ => return Err(ApiError::MethodNotAllowed(routes::ALLOW)),
    }
    let mut params = Params::new(page.name(), &[], Vec::new(), head.uri.query());
    let op = params.common("op");
    let mut response = page.reply(api, op.as_deref())?.into_response(&head.headers)?;
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(tell::POLICY));
    Ok(response)
}
