//! The API as its clients meet it: driven in-process, over a store that was filled by ingest.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;
use usage_rollup::api::{self, Api};
use usage_rollup::clock::Clock;
use usage_rollup::config::{Config, Layers};
use usage_rollup::ingest::source::{FileSource, Source};
use usage_rollup::jobs::{Installation, Reading, Wanted, ingest};
use usage_rollup::model::Instant;
use usage_rollup::store::{InputKind, NewApiKey, Role, Store, StoreUrl};
use uuid::Uuid;

use super::stores::{Database, On, on_each_store, server};

on_each_store!(
    async a_report_has_the_published_members_in_order_and_its_standing_in_headers,
    a_service_without_a_row_has_zeros_that_say_so,
    the_period_is_yesterday_or_the_one_that_is_asked_for,
    days_are_those_of_the_reporting_zone,
    the_state_is_the_one_of_now_and_not_of_the_last_rollup,
    who_has_the_document_is_told_304_with_the_current_headers,
    a_route_is_found_in_every_spelling,
    ping_tells_time_and_version,
    what_is_malformed_is_told_all_at_once,
    what_makes_no_sense_is_refused_with_its_field,
    what_is_not_there_is_404_in_json,
    blocked_and_provisioning_services_are_refused_with_their_status,
    other_methods_are_told_what_the_route_takes,
    head_and_options_work_as_http_has_them,
    a_role_sees_its_scope_and_no_more,
    hidden_services_are_as_if_they_were_not,
    without_a_valid_key_everything_is_401,
    a_key_is_taken_wherever_a_client_puts_it,
    a_store_that_is_away_is_503_and_one_that_is_damaged_500,
    a_served_api_answers_bounds_its_requests_and_ends_when_it_is_told_to,
);

/// Everything is told of it, and it has events.
pub const ACME: &str = "3f2b8c1e7d544f0a9a550d6f1f8f7a10";
/// Has an entry with a name alone, and no events.
pub const BARE: &str = "00000000000000000000000000000002";
pub const BLOCKED: &str = "00000000000000000000000000000003";
pub const PROVISIONING: &str = "00000000000000000000000000000004";
/// Has events and no entry.
const UNKNOWN: &str = "00000000000000000000000000000005";
pub const RESELLER: Uuid = Uuid::from_u128(0xb1);
pub const PARTNER: Uuid = Uuid::from_u128(0xc1);

pub const INGESTED: &str = "2026-03-04T10:00:00Z";

const EVENTS: &str = r#"
{"specversion":"1.0","id":"1","source":"/t","type":"service.updated","subject":"3f2b8c1e-7d54-4f0a-9a55-0d6f1f8f7a10","time":"2026-01-30T08:00:00Z","data":{"name":"Acme \"Secure\" <é>","status":"TrialActive","serviceCode":"ACME","referenceId":"r-1","primaryDomain":"acme.example","createdOn":"2026-01-30T23:30:00.5-05:00","trialEndDate":"2026-04-01","effectiveDate":"2026-02-01","initialTerm":12,"collectionGuid":"000000000000000000000000000000A1","collectionName":"Main","clientGuid":"000000000000000000000000000000a2","resellerGuid":"000000000000000000000000000000b1","resellerName":"Res","partnerGuid":"000000000000000000000000000000c1","partnerName":"Par","contact":{"name":"Ann","email":"ann@acme.example","phoneNumber":"1"},"company":{"name":"Acme","city":"Oslo","website":"https://acme.example"}}}
{"specversion":"1.0","id":"2","source":"/t","type":"service.updated","subject":"00000000000000000000000000000002","time":"2026-02-01T08:00:00Z","data":{"name":"Bare"}}
{"specversion":"1.0","id":"3","source":"/t","type":"service.updated","subject":"00000000000000000000000000000003","time":"2026-02-01T08:00:00Z","data":{"status":"Blocked","partnerGuid":"000000000000000000000000000000c1"}}
{"specversion":"1.0","id":"4","source":"/t","type":"service.updated","subject":"00000000000000000000000000000004","time":"2026-02-01T08:00:00Z","data":{"status":"Provisioning"}}
{"specversion":"1.0","id":"5","source":"/t","type":"feature.used","subject":"00000000000000000000000000000005","time":"2026-03-03T08:00:00Z","data":{"feature":"SecureForms"}}
{"specversion":"1.0","id":"6","source":"/t","type":"user.registered","subject":"3f2b8c1e-7d54-4f0a-9a55-0d6f1f8f7a10","time":"2026-03-02T08:00:00Z","data":{"userGuid":"00000000000000000000000000000011","groupType":"Professional"}}
{"specversion":"1.0","id":"7","source":"/t","type":"user.invited","subject":"3f2b8c1e-7d54-4f0a-9a55-0d6f1f8f7a10","time":"2026-03-02T09:00:00Z","data":{"userGuid":"00000000000000000000000000000012","groupType":"Guest"}}
{"specversion":"1.0","id":"8","source":"/t","type":"feature.used","subject":"3f2b8c1e-7d54-4f0a-9a55-0d6f1f8f7a10","time":"2026-03-02T09:00:00Z","data":{"feature":"SecureForms","quantity":3}}
{"specversion":"1.0","id":"9","source":"/t","type":"message.sent","subject":"3f2b8c1e-7d54-4f0a-9a55-0d6f1f8f7a10","time":"2026-03-03T09:00:00Z","data":{"messageGuid":"00000000000000000000000000000021","userGuid":"00000000000000000000000000000011","attachments":[{"attachmentGuid":"00000000000000000000000000000031","sizeBytes":1000}]}}
"#;

const LATE: &str = r#"{"specversion":"1.0","id":"10","source":"/t","type":"message.sent","subject":"3f2b8c1e-7d54-4f0a-9a55-0d6f1f8f7a10","time":"2026-03-03T10:00:00Z","data":{"messageGuid":"00000000000000000000000000000022","userGuid":"00000000000000000000000000000011"}}
"#;

/// An installation in a directory of its own.
pub struct World {
    pub dir: tempfile::TempDir,
    database: Database,
    pub config: Config,
    pub store: Store,
}

impl World {
    pub async fn new(on: On) -> Self {
        Self::with(on, &[("api.auth", "off")]).await
    }

    pub async fn with(on: On, settings: &[(&str, &str)]) -> Self {
        let (dir, database) = (tempfile::tempdir().unwrap(), Database::new(on));
        let mut layers = Layers::read(Some(Path::new("config/default.toml"))).unwrap();
        layers.set("store.url", database.url(), "the test").unwrap();
        for (key, value) in settings {
            layers.set(key, (*value).to_owned(), "the test").unwrap();
        }
        layers.set("rollup.threads", "1".to_owned(), "the test").unwrap();
        let config = Config::from_layers(&layers, dir.path()).unwrap();
        let store = fill(dir.path(), &config, INGESTED, EVENTS).await;
        Self { dir, database, config, store }
    }

    pub fn api_at(&self, now: &str) -> Api {
        let (data_dir, config) = (self.dir.path().to_owned(), Arc::new(self.config.clone()));
        Api::new(Reading::new(data_dir, config, now.parse().unwrap(), self.store.clone()))
    }

    pub async fn ask(&self, now: &str, request: Request<Body>) -> Answer {
        answer(api::router(self.api_at(now)), request).await
    }

    /// Runs a statement behind the engine's back.
    pub async fn change(&self, statement: &str) {
        self.database.change(&self.config.store.url, statement).await;
    }

    pub async fn get_at(&self, now: &str, path: &str) -> Answer {
        self.ask(now, request(Method::GET, path, &[])).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.get_at(INGESTED, path).await
    }

    pub async fn key(&self, role: Role, scope: Option<Uuid>, expires_at: Option<Instant>) -> String {
        let (key, key_hash) = api::new_key();
        let id = Uuid::now_v7().to_string();
        let new = NewApiKey { name: id.clone(), id, role, scope, key_hash, expires_at };
        self.store.create_key(&new, instant(INGESTED)).await.unwrap();
        key
    }

    pub async fn get_with(&self, key: &str, path: &str) -> Answer {
        self.ask(INGESTED, request(Method::GET, path, &[("authorization", &format!("Bearer {key}"))])).await
    }
}

pub async fn answer(router: Router, request: Request<Body>) -> Answer {
    let (head, body) = router.oneshot(request).await.unwrap().into_parts();
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    Answer { status: head.status, headers: head.headers, body }
}

/// Ingests these lines at this instant.
pub async fn fill(dir: &Path, config: &Config, now: &str, lines: &str) -> Store {
    let installation = Installation::open(dir, config.clone(), Clock::Fixed(instant(now))).await.unwrap();
    let file = dir.join(format!("{}.ndjson", Uuid::now_v7()));
    std::fs::write(&file, lines).unwrap();
    let source = Source::File(FileSource::find(&file, InputKind::File).unwrap());
    let report = Box::pin(ingest(&installation, &super::support::run(), Wanted::Sources(vec![source]))).await.unwrap();
    assert_eq!(report.rejected, 0);
    installation.store.clone()
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn number(&self, member: &str) -> i64 {
        self.json()[member].as_i64().unwrap_or_else(|| panic!("{member} in {}", self.body))
    }

    pub fn text(&self, member: &str) -> String {
        self.json()[member].as_str().unwrap_or_else(|| panic!("{member} in {}", self.body)).to_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Status and body of an error.
    pub fn error(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/json; charset=utf-8"));
        assert_eq!(self.header("content-length"), Some(self.body.len().to_string().as_str()));
        assert_eq!(self.header("x-usage-state"), None);
        format!("{} {}", self.status.as_u16(), self.body)
    }
}

pub fn instant(text: &str) -> Instant {
    Instant::parse_rfc3339(text).unwrap()
}

pub fn request(method: Method, path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let builder = Request::builder().method(method).uri(path);
    headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value)).body(Body::empty()).unwrap()
}

fn usage(service: &str, query: &str) -> String {
    format!("/api/services/{service}/serviceusage{query}")
}

async fn a_report_has_the_published_members_in_order_and_its_standing_in_headers(on: On) {
    let world = World::new(on).await;
    let answer = world.get(&usage(ACME, "")).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        answer.body,
        concat!(
            r#"{"serviceGuid":"3f2b8c1e7d544f0a9a550d6f1f8f7a10","name":"Acme \"Secure\" <é>","status":"TrialActive","#,
            r#""serviceCode":"ACME","referenceId":"r-1","primaryDomain":"acme.example","createdOn":"2026-01-31T04:30:00Z","#,
            r#""trialEndDate":"2026-04-01T00:00:00Z","effectiveDate":"2026-02-01T00:00:00Z","initialTerm":12,"#,
            r#""collectionGuid":"000000000000000000000000000000a1","collectionName":"Main","#,
            r#""clientGuid":"000000000000000000000000000000a2","#,
            r#""contact":{"name":"Ann","email":"ann@acme.example","phoneNumber":"1"},"#,
            r#""company":{"name":"Acme","city":"Oslo","website":"https://acme.example"},"#,
            r#""periodType":"Daily","period":"2026-03-03T00:00:00Z","totalUserCount":2,"proUserCount":1,"guestUserCount":0,"#,
            r#""disabledUserCount":0,"unregisteredUserCount":1,"featureUsageSecureMessagingGateway":0,"#,
            r#""featureUsageSecureMessagingPlus":0,"featureUsageDataLeakPrevention":0,"featureUsageSecureLargeFiles":0,"#,
            r#""featureUsageSecureForms":0,"totalMessageCount":1,"totalAttachmentCount":1,"attachmentStorageUsage":1000}"#,
        )
    );
    for (name, value) in [
        ("content-type", "application/json; charset=utf-8"),
        ("content-length", answer.body.len().to_string().as_str()),
        ("vary", "Accept, Accept-Encoding"),
        ("cache-control", "private, no-cache"),
        ("x-usage-state", "settling"),
        ("x-usage-revision", "1"),
        ("x-usage-as-of", "2026-03-04T10:00:00Z"),
        ("last-modified", "Wed, 04 Mar 2026 10:00:00 GMT"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    assert_eq!(answer.header("x-request-id").map(str::len), Some(32));
    assert!(answer.header("etag").unwrap().starts_with('"'));
}

async fn a_service_without_a_row_has_zeros_that_say_so(on: On) {
    let world = World::new(on).await;
    for (service, query) in [(BARE, ""), (ACME, "?period=2026-03-01"), (ACME, "?period=0001-01-01T00:00:00Z")] {
        let answer = world.get(&usage(service, query)).await;
        assert_eq!((answer.status, answer.number("totalUserCount")), (StatusCode::OK, 0));
        assert_eq!(answer.header("x-usage-state"), Some("none"));
        for absent in ["x-usage-revision", "x-usage-as-of", "last-modified"] {
            assert_eq!(answer.header(absent), None, "{absent}");
        }
        assert!(answer.header("etag").is_some());
    }
    // Of the entry, only what is set or always there.
    let bare = world.get(&usage(BARE, "")).await;
    assert!(
        bare.body.starts_with(
            r#"{"serviceGuid":"00000000000000000000000000000002","name":"Bare","status":"CertifiedSecure","createdOn":"2026-02-01T08:00:00Z","initialTerm":0,"periodType":"Daily","period":"2026-03-03T00:00:00Z","totalUserCount":0,"#
        ),
        "{}",
        bare.body
    );
}

async fn the_period_is_yesterday_or_the_one_that_is_asked_for(on: On) {
    let world = World::new(on).await;
    for (query, period, messages, forms) in [
        ("", "2026-03-03", 1, 0),
        ("?period=2026-03-02", "2026-03-02", 0, 3),
        ("?Period=20260302", "2026-03-02", 0, 3),
        ("?PERIOD=2026-03-02T23:59:59.9999999Z", "2026-03-02", 0, 3),
        ("?period=2026-03-02T23:00:00-05:00", "2026-03-03", 1, 0),
        ("?period=2026-03-03T01:00:00+05:00", "2026-03-02", 0, 3),
        ("?period=%2FDate(1772409600000)%2F", "2026-03-02", 0, 3),
        ("?period=2026-03-04", "2026-03-04", 0, 0),
        ("?periodType=monthly", "2026-03-01", 1, 3),
        ("?periodType=1&period=2026-03-31", "2026-03-01", 1, 3),
        ("?periodType=Monthly&period=&unknown=x", "2026-03-01", 1, 3),
        ("?periodType=DAILY", "2026-03-03", 1, 0),
    ] {
        let answer = world.get(&usage(ACME, query)).await;
        assert_eq!(answer.status, StatusCode::OK, "{query}: {}", answer.body);
        assert_eq!(answer.text("period"), format!("{period}T00:00:00Z"), "{query}");
        assert_eq!(
            (answer.number("totalMessageCount"), answer.number("featureUsageSecureForms")),
            (messages, forms),
            "{query}"
        );
    }
    // On the first of a month, yesterday is of the month before.
    let answer = world.get_at("2026-04-01T00:00:00Z", &usage(ACME, "?periodType=Monthly")).await;
    assert_eq!(answer.text("period"), "2026-03-01T00:00:00Z");
}

async fn days_are_those_of_the_reporting_zone(on: On) {
    let world = World::with(on, &[("api.auth", "off"), ("reporting.timezone", "America/New_York")]).await;
    let period = |now, query| {
        let (world, path) = (&world, usage(ACME, query));
        async move { world.get_at(now, &path).await.text("period") }
    };
    assert_eq!(period("2026-03-04T04:59:59Z", "").await, "2026-03-02T00:00:00Z");
    assert_eq!(period("2026-03-04T05:00:00Z", "").await, "2026-03-03T00:00:00Z");
    assert_eq!(period(INGESTED, "?period=2026-03-04T04:00:00Z").await, "2026-03-03T00:00:00Z");
    assert_eq!(period(INGESTED, "?period=2026-03-04").await, "2026-03-04T00:00:00Z");
    let future = world.get_at("2026-03-04T04:00:00Z", &usage(ACME, "?period=2026-03-04")).await;
    assert_eq!(future.status, StatusCode::BAD_REQUEST);
}

async fn the_state_is_the_one_of_now_and_not_of_the_last_rollup(on: On) {
    let world = World::new(on).await;
    let standing = |now, query| {
        let (world, path) = (&world, usage(ACME, query));
        async move {
            let answer = world.get_at(now, &path).await;
            [answer.header("x-usage-state").unwrap().to_owned(), answer.header("x-usage-revision").unwrap().to_owned()]
                .join(" ")
        }
    };
    assert_eq!(standing(INGESTED, "?period=2026-03-03").await, "settling 1");
    assert_eq!(standing("2026-03-04T12:00:00Z", "?period=2026-03-03").await, "closed 1");
    assert_eq!(standing("2026-03-04T23:59:59Z", "?period=2026-03-04").await, "open 1");
    assert_eq!(standing("2026-03-05T00:00:00Z", "?period=2026-03-04").await, "settling 1");
    assert_eq!(standing("2026-03-05T02:00:00Z", "?period=2026-03-04").await, "closed 1");
    assert_eq!(standing("2026-03-31T23:59:59Z", "?periodType=Monthly&period=2026-03-04").await, "open 1");
    assert_eq!(standing("2026-04-01T02:00:00Z", "?periodType=Monthly&period=2026-03-04").await, "closed 1");

    fill(world.dir.path(), &world.config, "2026-03-06T00:00:00Z", LATE).await;
    assert_eq!(standing("2026-03-06T00:00:00Z", "?period=2026-03-03").await, "restated 2");
    assert_eq!(world.get(&usage(ACME, "?period=2026-03-03")).await.number("totalMessageCount"), 2);
}

async fn who_has_the_document_is_told_304_with_the_current_headers(on: On) {
    let world = World::new(on).await;
    let path = usage(ACME, "");
    let first = world.get(&path).await;
    let tag = first.header("etag").unwrap().to_owned();
    let again = |now, tag: &str, method| {
        let request = request(method, &path, &[("if-none-match", tag)]);
        world.ask(now, request)
    };
    for method in [Method::GET, Method::HEAD] {
        let unchanged = again("2026-03-04T23:00:00Z", &format!("\"other\", W/{tag}"), method).await;
        assert_eq!((unchanged.status, unchanged.body.as_str()), (StatusCode::NOT_MODIFIED, ""));
        assert_eq!(unchanged.header("x-usage-state"), Some("closed"), "it was settling");
        assert_eq!(unchanged.header("etag"), Some(tag.as_str()));
        assert_eq!(unchanged.header("vary"), Some("Accept, Accept-Encoding"));
        assert_eq!(unchanged.header("last-modified"), first.header("last-modified"));
    }
    assert_eq!(again(INGESTED, "\"other\"", Method::GET).await.status, StatusCode::OK);
    assert_eq!(again("2026-03-05T10:00:00Z", &tag, Method::GET).await.status, StatusCode::OK, "another yesterday");
}

async fn a_route_is_found_in_every_spelling(on: On) {
    let world = World::new(on).await;
    let expected = world.get(&usage(ACME, "")).await;
    for path in [
        format!("/services/{ACME}/serviceusage"),
        format!("/api/api/services/{ACME}/serviceusage"),
        format!("/API/Services/{}/ServiceUsage/", ACME.to_uppercase()),
        format!("/api//services/%7B{}%7D//serviceusage//", Uuid::parse_str(ACME).unwrap()),
        format!("/api/services/{ACME}/serviceusage?serviceGuid={BARE}"),
        format!("/api/services/{ACME}/serviceusage?serviceGuid=nonsense&format=unknown"),
        format!("/api/GetServiceUsage?ServiceGuid={ACME}"),
        format!("/getserviceusage?SERVICEGUID={ACME}"),
        format!("/api/json/reply/GetServiceUsage?serviceGuid=({})", Uuid::parse_str(ACME).unwrap()),
        format!("/json/reply/getServiceUsage/?serviceguid={ACME}"),
    ] {
        let answer = world.get(&path).await;
        assert_eq!((answer.status, answer.body), (StatusCode::OK, expected.body.clone()), "{path}");
    }
}

async fn ping_tells_time_and_version(on: On) {
    let world = World::new(on).await;
    for path in ["/api/ping", "/ping", "/api/json/reply/Ping", "/api/PING/"] {
        let answer = world.get(path).await;
        assert_eq!(
            answer.body,
            format!(r#"{{"timestamp":"2026-03-04T10:00:00Z","version":"{}"}}"#, env!("CARGO_PKG_VERSION"))
        );
        assert_eq!(answer.header("x-usage-state"), None);
    }
}

async fn what_is_malformed_is_told_all_at_once(on: On) {
    let world = World::new(on).await;
    let answer =
        world.get(&usage("nonsense", "?period=soon&PeriodType=Weekly&period=%22later%22&asOf=2026-01-01")).await;
    assert_eq!(
        answer.error(),
        concat!(
            r#"400 {"responseStatus":{"errorCode":"SerializationException","message":"Unable to bind to request 'GetServiceUsage'","#,
            r#""errors":[{"errorCode":"SerializationException","fieldName":"ServiceGuid","message":"'nonsense' is an Invalid value for 'ServiceGuid'"},"#,
            r#"{"errorCode":"SerializationException","fieldName":"PeriodType","message":"'Weekly' is an Invalid value for 'PeriodType'"},"#,
            r#"{"errorCode":"SerializationException","fieldName":"Period","message":"'soon,\"later\"' is an Invalid value for 'Period'"}]}}"#,
        )
    );
}

async fn what_makes_no_sense_is_refused_with_its_field(on: On) {
    let world = World::new(on).await;
    let argument = |field: &str, message: &str| {
        format!(
            r#"400 {{"responseStatus":{{"errorCode":"ArgumentException","message":"{message}","errors":[{{"errorCode":"ArgumentException","fieldName":"{field}","message":"{message}"}}]}}}}"#
        )
    };
    let tomorrow = argument("Period", "the period that begins on 2026-03-05 is in the future; today is 2026-03-04");
    assert_eq!(world.get(&usage(ACME, "?period=2026-03-05")).await.error(), tomorrow);
    let next_month = argument("Period", "the period that begins on 2026-04-01 is in the future; today is 2026-03-04");
    assert_eq!(world.get(&usage(ACME, "?periodType=Monthly&period=2026-04-30")).await.error(), next_month);
    let far = argument("Period", "the period that begins on 9999-12-31 is in the future; today is 2026-03-04");
    assert_eq!(world.get(&usage(ACME, "?period=9999-12-31T23:59:59.9999999Z")).await.error(), far);
    let as_of = argument("AsOf", "AsOf is in the future; it is 2026-03-04T10:00:00Z");
    assert_eq!(world.get(&usage(ACME, "?asof=2026-03-04T10:00:01Z")).await.error(), as_of);
    assert_eq!(world.get(&usage(ACME, "?asOf=")).await.status, StatusCode::OK);
    let required = argument("ServiceGuid", "ServiceGuid is required");
    assert_eq!(world.get("/api/GetServiceUsage").await.error(), required);
}

async fn what_is_not_there_is_404_in_json(on: On) {
    let world = World::new(on).await;
    for service in [UNKNOWN, "00000000000000000000000000000099"] {
        let expected = format!(
            r#"404 {{"responseStatus":{{"errorCode":"NotFound","message":"there is no service {service}","errors":[]}}}}"#
        );
        assert_eq!(world.get(&usage(service, "")).await.error(), expected);
    }
    for path in [
        "/",
        "/api",
        "/api/nothing",
        "/api/resellers",
        "/api/html/reply/Ping",
        "/api/xml/oneway/Ping",
        "/api/ping.html",
        "/%00%ff/%",
        "/api/services/%2e%2e/serviceusage/x",
        "/api/api/api/ping",
    ] {
        let answer = world.get(path).await;
        let expected =
            r#"404 {"responseStatus":{"errorCode":"NotFound","message":"there is no such route","errors":[]}}"#;
        assert_eq!(answer.error(), expected, "{path}");
    }
}

async fn blocked_and_provisioning_services_are_refused_with_their_status(on: On) {
    let world = World::new(on).await;
    for (service, status) in [(BLOCKED, "Blocked"), (PROVISIONING, "Provisioning")] {
        let expected = format!(
            r#"403 {{"responseStatus":{{"errorCode":"Forbidden","message":"the service is {status}: its usage is not reported","errors":[],"meta":{{"serviceStatus":"{status}"}}}}}}"#
        );
        assert_eq!(world.get(&usage(service, "")).await.error(), expected);
    }
}

async fn other_methods_are_told_what_the_route_takes(on: On) {
    let world = World::new(on).await;
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let answer = world.ask(INGESTED, request(method, &usage(ACME, ""), &[])).await;
        let expected = r#"405 {"responseStatus":{"errorCode":"MethodNotAllowed","message":"this route takes GET, HEAD, OPTIONS","errors":[]}}"#;
        assert_eq!(answer.error(), expected);
        assert_eq!(answer.header("allow"), Some("GET, HEAD, OPTIONS"));
    }
    assert_eq!(world.ask(INGESTED, request(Method::POST, "/api/nothing", &[])).await.status, StatusCode::NOT_FOUND);
}

async fn head_and_options_work_as_http_has_them(on: On) {
    let world = World::new(on).await;
    let got = world.get(&usage(ACME, "")).await;
    let head = world.ask(INGESTED, request(Method::HEAD, &usage(ACME, ""), &[])).await;
    assert_eq!((head.status, head.body.as_str()), (StatusCode::OK, ""));
    for name in ["content-length", "content-type", "etag", "x-usage-state", "last-modified"] {
        assert_eq!(head.header(name), got.header(name), "{name}");
    }
    let missing = world.ask(INGESTED, request(Method::HEAD, "/api/nothing", &[])).await;
    assert_eq!((missing.status, missing.body.as_str()), (StatusCode::NOT_FOUND, ""));

    let options = world
        .ask(INGESTED, request(Method::OPTIONS, &usage(ACME, ""), &[("origin", "https://elsewhere.example")]))
        .await;
    assert_eq!((options.status, options.body.as_str()), (StatusCode::NO_CONTENT, ""));
    assert_eq!(options.header("allow"), Some("GET, HEAD, OPTIONS"));
    assert_eq!(options.header("access-control-allow-origin"), None, "CORS is off");
}

async fn a_role_sees_its_scope_and_no_more(on: On) {
    let world = World::with(on, &[]).await;
    let acme = Uuid::parse_str(ACME).unwrap();
    let elsewhere = Uuid::from_u128(0xee);
    for (role, scope, expected) in [
        (Role::SuperUser, None, [200, 200, 403]),
        (Role::Partner, Some(PARTNER), [200, 403, 403]),
        (Role::Partner, Some(elsewhere), [403, 403, 403]),
        (Role::Partner, Some(RESELLER), [403, 403, 403]),
        (Role::Reseller, Some(RESELLER), [200, 403, 403]),
        (Role::Reseller, Some(elsewhere), [403, 403, 403]),
        (Role::Service, Some(acme), [200, 403, 403]),
        (Role::Service, Some(elsewhere), [403, 403, 403]),
        (Role::Service, None, [403, 403, 403]),
    ] {
        let key = world.key(role, scope, None).await;
        for (service, status) in [ACME, BARE, BLOCKED].into_iter().zip(expected) {
            let answer = world.get_with(&key, &usage(service, "")).await;
            assert_eq!(answer.status.as_u16(), status, "{role:?} {scope:?} {service}");
        }
        assert_eq!(world.get_with(&key, "/api/ping").await.status, StatusCode::OK);
        assert_eq!(world.get_with(&key, &usage(UNKNOWN, "")).await.status, StatusCode::NOT_FOUND);
    }
    let key = world.key(Role::Reseller, Some(RESELLER), None).await;
    let expected = format!(
        r#"403 {{"responseStatus":{{"errorCode":"Forbidden","message":"this key may not see the service {BARE}","errors":[]}}}}"#
    );
    assert_eq!(world.get_with(&key, &usage(BARE, "")).await.error(), expected);
    let blocked = world.get_with(&key, &usage(BLOCKED, "")).await;
    assert!(!blocked.body.contains("Blocked"), "its status is for those in scope: {}", blocked.body);
    let partner = world.key(Role::Partner, Some(PARTNER), None).await;
    let blocked = world.get_with(&partner, &usage(BLOCKED, "")).await;
    assert!(blocked.body.contains(r#""meta":{"serviceStatus":"Blocked"}"#), "{}", blocked.body);
}

async fn hidden_services_are_as_if_they_were_not(on: On) {
    let world = World::with(on, &[("api.hide_forbidden", "true")]).await;
    let key = world.key(Role::Reseller, Some(RESELLER), None).await;
    let missing = "00000000000000000000000000000099";
    let expected = world.get_with(&key, &usage(missing, "")).await.error();
    for service in [BARE, BLOCKED] {
        assert_eq!(world.get_with(&key, &usage(service, "")).await.error().replace(service, missing), expected);
    }
    let partner = world.key(Role::Partner, Some(PARTNER), None).await;
    assert_eq!(world.get_with(&partner, &usage(BLOCKED, "")).await.status, StatusCode::FORBIDDEN);
}

async fn without_a_valid_key_everything_is_401(on: On) {
    let world = World::with(on, &[]).await;
    for (method, path) in [
        (Method::GET, usage(ACME, "")),
        (Method::GET, "/api/ping".to_owned()),
        (Method::GET, "/nothing".to_owned()),
        (Method::POST, "/api/ping".to_owned()),
    ] {
        let answer = world.ask(INGESTED, request(method, &path, &[])).await;
        let expected = r#"401 {"responseStatus":{"errorCode":"Unauthorized","message":"an API key is needed: send it as a bearer token","errors":[]}}"#;
        assert_eq!(answer.error(), expected, "{path}");
        let challenges: Vec<&str> =
            answer.headers.get_all("www-authenticate").iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(challenges, [r#"Bearer realm="usage-rollup""#, r#"Basic realm="usage-rollup", charset="UTF-8""#]);
    }
    let bad = r#"401 {"responseStatus":{"errorCode":"Unauthorized","message":"the API key is not valid","errors":[]}}"#;
    let expired = world.key(Role::SuperUser, None, Some(instant(INGESTED))).await;
    let revoked = world.key(Role::SuperUser, None, None).await;
    assert_eq!(world.get_with(&revoked, "/ping").await.status, StatusCode::OK);
    let id = world.store.keys().await.unwrap().into_iter().find(|key| key.expires_at.is_none()).unwrap().id;
    assert!(world.store.revoke_key(&id, instant(INGESTED)).await.unwrap());
    for key in [expired, revoked, api::new_key().0, "nonsense".to_owned(), "'; DROP TABLE api_keys; --".to_owned()] {
        let answer = world.get_with(&key, &usage(ACME, "")).await;
        assert_eq!(answer.error(), bad);
        assert!(answer.header("www-authenticate").is_some());
    }
}

async fn a_key_is_taken_wherever_a_client_puts_it(on: On) {
    use base64::Engine as _;
    let world = World::with(on, &[]).await;
    let key = world.key(Role::SuperUser, None, Some(instant("2026-03-04T10:00:01Z"))).await;
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("anybody:{key}"));
    for (name, value) in [
        ("authorization", format!("bearer {key}")),
        ("authorization", format!("Basic {basic}")),
        ("X-ss-id", key.clone()),
        ("cookie", format!("ss-opt=temp; ss-id={key}")),
    ] {
        let answer = world.ask(INGESTED, request(Method::GET, &usage(ACME, ""), &[(name, &value)])).await;
        assert_eq!(answer.status, StatusCode::OK, "{name}");
    }
    let wrong = world.ask(INGESTED, request(Method::GET, &format!("/ping?key={key}"), &[])).await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED, "an address is logged and shared: no place for a key");
}

async fn a_store_that_is_away_is_503_and_one_that_is_damaged_500(on: On) {
    let world = World::new(on).await;
    let damage = "UPDATE service_usage SET state = 'odd' WHERE period = '2026-03-03'";
    match &world.config.store.url {
        StoreUrl::Sqlite(path) => {
            let database = sqlx::SqlitePool::connect(&format!("sqlite:{}", path.display())).await.unwrap();
            sqlx::query(damage).execute(&database).await.unwrap();
            database.close().await;
        }
        StoreUrl::Postgres(_) => _ = server().sql(world.database.name(), damage),
    }
    let damaged = world.get(&usage(ACME, "")).await;
    let id = damaged.header("x-request-id").unwrap();
    let expected = format!(
        r#"500 {{"responseStatus":{{"errorCode":"InternalServerError","message":"the request failed; the log says why, under the request id {id}","errors":[]}}}}"#
    );
    assert_eq!(damaged.error(), expected);

    world.store.close().await;
    let away = world.get(&usage(ACME, "")).await;
    let expected = r#"503 {"responseStatus":{"errorCode":"ServiceUnavailable","message":"the store can't be reached at the moment","errors":[]}}"#;
    assert_eq!((away.error().as_str(), away.header("retry-after")), (expected, Some("5")));
    assert_eq!(world.get("/api/ping").await.status, StatusCode::OK, "it needs no store");
}

async fn a_served_api_answers_bounds_its_requests_and_ends_when_it_is_told_to(on: On) {
    let world = World::new(on).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving =
        tokio::spawn(api::serve(listener, world.api_at(INGESTED), api::Bounds::new(&world.config.api), async {
            let _ = stopped.await;
        }));
    let exchange = move |request: String| {
        tokio::task::spawn_blocking(move || {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            answer
        })
    };
    let ping = exchange("HEAD /api/ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned()).await.unwrap();
    assert!(ping.starts_with("HTTP/1.1 200 OK\r\n") && ping.ends_with("\r\n\r\n"), "{ping}");
    let length = world.get("/api/ping").await.body.len();
    assert!(ping.contains(&format!("content-length: {length}\r\n")), "{ping}");
    let long =
        exchange(format!("GET /api/ping HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(40_000))).await.unwrap();
    assert!(long.starts_with("HTTP/1.1 431 "), "{long}");

    // A connection that idles does not keep the shutdown waiting.
    let idle = std::net::TcpStream::connect(address).unwrap();
    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(5), serving).await.unwrap().unwrap();
    assert!(std::net::TcpStream::connect(address).is_err());
    drop(idle);
}
