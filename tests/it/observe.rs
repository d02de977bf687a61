//! Metrics and probes: what is there, what it is called everywhere, and who may read it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use axum::http::Method;
use serde_json::Value;
use usage_rollup::api;
use usage_rollup::config::{Config, Layers};
use usage_rollup::jobs::{self, Scope};
use usage_rollup::store::Role;

use super::api::{World, instant, request};
use super::daemon::{Running, eventually, get, printed};
use super::stores::{On, on_each_store};
use super::support::{Binary, run};

on_each_store!(async
    every_metric_is_documented_and_every_one_that_is_documented_is_there,
    requests_count_by_operation_and_status,
    metrics_are_for_whom_the_configuration_says,
    a_store_of_another_version_is_not_ready,
);

mod daemon {
    crate::stores::on_each_store!(a_daemon_is_ready_and_tells_of_itself);
    use super::a_daemon_is_ready_and_tells_of_itself;
}

const NOW: &str = "2026-03-04T12:00:00Z";

/// An installation of which there is something to tell by every metric.
async fn eventful(on: On) -> (World, String) {
    let mut world = World::new(on).await;
    let installation =
        jobs::Installation::open(world.dir.path(), world.config.clone(), NOW.parse().unwrap()).await.unwrap();
    world.store = installation.store.clone();
    let inbox = &installation.config.ingest.inbox;
    fs::create_dir_all(inbox).unwrap();
    fs::write(inbox.join("late.ndjson"), "no event\n").unwrap();
    fs::File::options()
        .append(true)
        .open(inbox.join("late.ndjson"))
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH)
        .unwrap();
    eventually("it is taken", || inbox_is_ready(&world).then_some(()));
    jobs::ingest(&installation, &run(), jobs::Wanted::Waiting).await.unwrap();
    fs::write(inbox.join("growing.ndjson"), "not whole").unwrap();
    fs::create_dir(world.dir.path().join("spool")).unwrap();
    fs::write(world.dir.path().join("spool/sent.ndjson"), "sent since\n").unwrap();
    jobs::verify(&installation, &run(), &Scope::default()).await.unwrap();
    let router = api::router(world.api_at(NOW));
    for path in ["/api/ping", "/metrics"] {
        tower::ServiceExt::oneshot(router.clone(), request(Method::GET, path, &[])).await.unwrap();
    }
    let metrics = super::api::answer(router, request(Method::GET, "/metrics", &[])).await;
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    (world, metrics.body)
}

fn inbox_is_ready(world: &World) -> bool {
    let found = usage_rollup::ingest::source::inbox::look(&world.config.ingest.inbox).unwrap();
    !found.ready.is_empty()
}

/// The metrics of a text in Prometheus' format, with their types.
fn types(metrics: &str) -> BTreeMap<&str, &str> {
    metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect()
}

/// The metrics that docs/metrics.md has a line for, with their types.
fn documented(page: &str) -> BTreeMap<&str, &str> {
    let row = |line| {
        let cells: Vec<&str> = str::split(line, '|').map(str::trim).collect();
        let name = cells.get(1)?.strip_prefix('`')?.strip_suffix('`')?;
        name.contains('_').then_some((name, *cells.get(2)?))
    };
    page.lines().filter_map(row).collect()
}

async fn every_metric_is_documented_and_every_one_that_is_documented_is_there(on: On) {
    let (_world, metrics) = Box::pin(eventful(on)).await;
    let page = fs::read_to_string("docs/metrics.md").unwrap();
    assert_eq!(types(&metrics), documented(&page));
    // Numbers that are not the same each time are not shown, nor which bucket a duration is in.
    let varies = |name: &str| ["process_", "_seconds", "_bytes", "_connections"].iter().any(|part| name.contains(part));
    let shown = metrics.lines().filter(|line| !line.contains("_bucket{")).map(|line| match line.rsplit_once(' ') {
        Some((name, _)) if !line.starts_with('#') && varies(name) => format!("{name} …"),
        _ => line.replace(env!("CARGO_PKG_VERSION"), "…"),
    });
    let shown: Vec<String> = shown.filter(|line| !line.contains("pool=\"exports\"")).collect();
    insta::assert_snapshot!("metrics", shown.join("\n"));
    let hex = |text: &str| text.bytes().filter(u8::is_ascii_hexdigit).count() >= 32;
    assert!(!metrics.split(|c: char| !c.is_ascii_alphanumeric()).any(hex), "a GUID is told: {metrics}");
}

/// What follows these prefixes in a text, up to where a name ends.
fn names(text: &str) -> BTreeSet<String> {
    let is_of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let words =
        text.split(|c| !is_of_name(c)).filter(|word| word.starts_with("usage_rollup_") || word.starts_with("process_"));
    let base =
        |word: &str| ["_bucket", "_sum", "_count"].iter().find_map(|end| Some(word.strip_suffix(end)?.to_owned()));
    words.map(|word| base(word).unwrap_or_else(|| word.to_owned())).collect()
}

#[test]
fn dashboard_and_alerts_name_metrics_that_there_are() {
    let page = fs::read_to_string("docs/metrics.md").unwrap();
    let known: BTreeSet<String> = documented(&page).into_keys().map(str::to_owned).collect();
    for file in ["prometheus/usage-rollup.rules.yml", "prometheus/usage-rollup.test.yml", "grafana/usage-rollup.json"] {
        let text = fs::read_to_string(Path::new("packaging").join(file)).unwrap();
        let named = names(&text);
        assert!(named.len() > 10, "{file}: {named:?}");
        assert_eq!(named.difference(&known).collect::<Vec<_>>(), [""; 0], "{file}");
    }
    let dashboard = fs::read_to_string("packaging/grafana/usage-rollup.json").unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() > 20);
}

#[test]
fn every_alert_says_what_it_is_and_what_to_do() {
    let rules = fs::read_to_string("packaging/prometheus/usage-rollup.rules.yml").unwrap();
    let alerts: Vec<&str> = rules.split("- alert: ").skip(1).collect();
    assert!(alerts.len() > 10);
    let tests = fs::read_to_string("packaging/prometheus/usage-rollup.test.yml").unwrap();
    for alert in alerts {
        let name = alert.lines().next().unwrap();
        for part in ["expr: ", "severity: ", "summary: \"", "description: \""] {
            assert!(alert.contains(part), "{name} has no {part}");
        }
        assert!(tests.contains(&format!("alertname=\"{name}\"")), "{name} is not tested");
    }
}

async fn requests_count_by_operation_and_status(on: On) {
    let world = World::with(on, &[]).await;
    let key = world.key(Role::SuperUser, None, None).await;
    let router = api::router(world.api_at(NOW));
    let bearer = format!("Bearer {key}");
    let service = "00000000-0000-0000-0000-000000000077";
    for (method, path, key) in [
        (Method::GET, "/api/ping".to_owned(), true),
        (Method::GET, "/api/ping".to_owned(), false),
        (Method::HEAD, "/api/json/reply/Ping".to_owned(), true),
        (Method::GET, format!("/api/services/{service}"), true),
        (Method::GET, "/api/nothing".to_owned(), true),
        (Method::POST, "/api/ping".to_owned(), true),
        (Method::GET, "/api/docs".to_owned(), true),
        (Method::GET, "/healthz".to_owned(), false),
        (Method::GET, "/readyz".to_owned(), false),
    ] {
        let headers = if key { vec![("authorization", bearer.as_str())] } else { Vec::new() };
        super::api::answer(router.clone(), request(method, &path, &headers)).await;
    }
    let metrics = super::api::answer(router, request(Method::GET, "/metrics", &[])).await.body;
    let of = |prefix: &str| metrics.lines().filter(|line| line.starts_with(prefix)).collect::<Vec<&str>>().join("\n");
    insta::allow_duplicates! {
        insta::assert_snapshot!(of("usage_rollup_api_requests_total"), @r#"
        usage_rollup_api_requests_total{operation="none",status="401"} 1
        usage_rollup_api_requests_total{operation="none",status="404"} 1
        usage_rollup_api_requests_total{operation="none",status="405"} 1
        usage_rollup_api_requests_total{operation="GetService",status="404"} 1
        usage_rollup_api_requests_total{operation="Ping",status="200"} 2
        usage_rollup_api_requests_total{operation="docs",status="200"} 1
        "#);
        insta::assert_snapshot!(of("usage_rollup_api_request_duration_seconds_count"), @r#"
        usage_rollup_api_request_duration_seconds_count{operation="none"} 3
        usage_rollup_api_request_duration_seconds_count{operation="GetService"} 1
        usage_rollup_api_request_duration_seconds_count{operation="Ping"} 2
        usage_rollup_api_request_duration_seconds_count{operation="docs"} 1
        "#);
    }
}

async fn metrics_are_for_whom_the_configuration_says(on: On) {
    let world = World::with(on, &[("api.metrics", "keys")]).await;
    assert_eq!(world.get("/metrics").await.status, 401);
    let (all, one) =
        (world.key(Role::SuperUser, None, None).await, world.key(Role::Service, Some(uuid::Uuid::nil()), None).await);
    assert_eq!(world.get_with(&one, "/metrics").await.status, 403);
    let metrics = world.get_with(&all, "/metrics").await;
    assert!(metrics.status == 200 && metrics.body.contains("\nusage_rollup_store_up 1\n"), "{}", metrics.body);
    let world = World::with(on, &[("api.metrics", "off")]).await;
    assert_eq!(world.get("/metrics").await.status, 404);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(world.get(path).await.status, 200, "{path} takes no key in any case");
    }
}

async fn a_store_of_another_version_is_not_ready(on: On) {
    let world = World::new(on).await;
    let ready = world.get("/readyz").await;
    assert_eq!((ready.status.as_u16(), ready.body.as_str()), (200, r#"{"status":"ready"}"#));
    assert_eq!(ready.header("cache-control"), Some("no-store"));
    world
        .change(
            "UPDATE _sqlx_migrations SET version = 9999 WHERE version = (SELECT max(version) FROM _sqlx_migrations)",
        )
        .await;
    let unready = world.get("/readyz").await;
    insta::allow_duplicates! { insta::assert_snapshot!(unready.body, @r#"{"reasons":["the store has another version's schema; restart this process with the version that fits it"],"status":"unready"}"#) };
    assert_eq!(unready.status, 503);
    world.store.close().await;
    let unready = world.get("/readyz").await;
    insta::allow_duplicates! { insta::assert_snapshot!(unready.body, @r#"{"reasons":["the store does not answer"],"status":"unready"}"#) };
    assert_eq!(unready.status, 503);
    let metrics = world.get("/metrics").await.body;
    assert!(metrics.contains("\nusage_rollup_store_up 0\n") && !metrics.contains("usage_rollup_lines"), "{metrics}");
    assert_eq!(world.get("/healthz").await.body, r#"{"status":"alive"}"#);
}

#[tokio::test]
async fn without_a_store_it_lives_and_is_not_ready() {
    let layers = Layers::read(Some(Path::new("config/default.toml"))).unwrap();
    let config = Config::from_layers(&layers, Path::new("data")).unwrap();
    let api = api::Api::without_store(
        usage_rollup::clock::Clock::Fixed(instant(NOW)),
        config.reporting.timezone,
        &config.api,
    );
    let router = api::router(api);
    let ask = async |path: &str| super::api::answer(router.clone(), request(Method::GET, path, &[])).await;
    assert_eq!(ask("/healthz").await.status, 200);
    let unready = ask("/readyz").await;
    assert_eq!(unready.status, 503);
    insta::assert_snapshot!(unready.body, @r#"{"reasons":["the store is not open yet; the log says what is waited for"],"status":"unready"}"#);
    let metrics = ask("/metrics").await;
    assert!(metrics.body.contains("usage_rollup_build_info{version="), "{}", metrics.body);
    assert!(!metrics.body.contains("usage_rollup_store_up"), "{}", metrics.body);
}

fn a_daemon_is_ready_and_tells_of_itself(on: On) {
    let binary = Binary::new(on).with("USAGE_ROLLUP__API__LISTEN", "127.0.0.1:0");
    let mut daemon = Running(binary.command(&["run"]).stderr(std::process::Stdio::piped()).spawn().unwrap());
    let address = printed(daemon.0.stderr.take().unwrap(), "api=http://");
    let (status, body) =
        eventually("it is ready", || get(&address, "/readyz", "").filter(|(status, _)| *status == 200));
    assert_eq!((status, body.as_str()), (200, r#"{"status":"ready"}"#));
    let metrics = eventually("a day's close was told of", || {
        let (_, metrics) = get(&address, "/metrics", "")?;
        metrics.contains("usage_rollup_job_runs_total{job_name=\"day-close\",outcome=\"done\"} 1").then_some(metrics)
    });
    assert!(metrics.contains("process_resident_memory_bytes "), "{metrics}");
    assert_eq!(daemon.stop().0, Some(0));
}
