//! What the API is made of besides its operations: what it tells of itself, exports, encodings, other origins, and bounds.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use usage_rollup::api;
use usage_rollup::store::Role;
use uuid::Uuid;

use super::api::{ACME, Answer, INGESTED, PARTNER, RESELLER, World, request};
use super::stores::{On, on_each_store};

on_each_store!(
    async pages_tell_of_every_operation_and_of_nothing_else,
    an_export_streams_what_the_caller_may_see,
    an_export_goes_on_behind_any_row,
    bodies_are_compressed_as_the_client_asks,
    other_origins_are_let_in_by_name_alone,
    requests_of_a_key_are_counted_where_a_rate_is_set,
    what_is_too_much_is_refused_in_json,
    no_parameter_is_too_hostile,
    an_idle_connection_makes_room_for_others,
);

/// Cells that a spreadsheet would run.
const FORMULA: &str = r#"{"specversion":"1.0","id":"90","source":"/t","type":"service.updated","subject":"3f2b8c1e-7d54-4f0a-9a55-0d6f1f8f7a10","time":"2026-03-04T08:00:00Z","data":{"name":"=HYPERLINK(1)","serviceCode":"-5","referenceId":"@x"}}
"#;

async fn with_header(world: &World, path: &str, name: &str, value: &str) -> Answer {
    world.ask(INGESTED, request(Method::GET, path, &[(name, value)])).await
}

async fn pages_tell_of_every_operation_and_of_nothing_else(on: On) {
    let world = World::new(on).await;
    let document = world.get("/api/openapi.json").await;
    assert_eq!(document.header("content-type"), Some("application/json; charset=utf-8"));
    let document = document.json();
    assert_eq!(document["openapi"], "3.1.0");
    let told: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(path, item)| (item["get"]["operationId"].as_str().unwrap().to_owned(), path.clone()))
        .collect();
    let served = api::operations().map(|(operation, path)| (operation.to_owned(), format!("/api/{path}"))).collect();
    assert_eq!(told, served);
    let of_events = world.get("/api/events/openapi.json").await.json();
    let events = &of_events["paths"]["/api/events"];
    let forms: Vec<&String> = events["post"]["requestBody"]["content"].as_object().unwrap().keys().collect();
    assert_eq!(
        forms,
        ["application/cloudevents+json", "application/cloudevents-batch+json", "application/x-ndjson"],
        "{events}"
    );
    let of_types = of_events["components"]["schemas"]["Event"]["oneOf"].as_array().unwrap();
    let of_types: Vec<&str> = of_types.iter().map(|of| of["title"].as_str().unwrap()).collect();
    assert_eq!(of_types, usage_rollup::model::EventType::NAMES);
    let reference = world.get("/api/docs").await.body;
    assert!(reference.contains("POST /api/events") && reference.contains("SentEvent"), "{reference}");
    let usage = &document["components"]["schemas"]["ServiceUsage"];
    assert_eq!(usage["properties"].as_object().unwrap().len(), 30);
    assert!(usage["required"].as_array().unwrap().iter().any(|name| name == "totalMessageCount"));

    for path in ["/api/metadata", "/metadata", "/api/api/METADATA/", "/api/docs", "/api/json/metadata"] {
        let page = world.get(path).await;
        assert_eq!(
            (page.status, page.header("content-type")),
            (StatusCode::OK, Some("text/html; charset=utf-8")),
            "{path}"
        );
        assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
        assert!(!page.body.contains("<script") && !page.body.contains("http://") && !page.body.contains("https://"));
        for (operation, _) in api::operations() {
            assert!(page.body.contains(operation), "{operation} in {path}");
        }
    }
    for (operation, _) in api::operations() {
        for format in ["json", "xml", "csv", "jsv"] {
            let page = world.get(&format!("/api/{format}/metadata?OP={operation}")).await;
            assert!(page.status == StatusCode::OK && page.body.contains(operation), "{operation} as {format}");
        }
    }
    assert_eq!(world.get("/api/json/metadata?op=Nothing").await.error().get(..3), Some("404"));
    assert_eq!(world.get("/api/html/metadata").await.error().get(..3), Some("404"));
    let refused = world.ask(INGESTED, request(Method::POST, "/api/docs", &[])).await;
    assert_eq!((refused.status, refused.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, Some("GET, HEAD, OPTIONS")));
    let any = world.ask(INGESTED, request(Method::OPTIONS, "*", &[])).await;
    assert_eq!((any.status, any.header("allow")), (StatusCode::NO_CONTENT, Some("GET, HEAD, OPTIONS")));

    let locked = World::with(on, &[]).await;
    for path in ["/api/metadata", "/api/openapi.json", "/api/docs", "/api/export"] {
        assert_eq!(locked.get(path).await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
}

async fn an_export_streams_what_the_caller_may_see(on: On) {
    let world = World::with(on, &[]).await;
    let services = |answer: &Answer| -> BTreeSet<String> {
        answer.body.lines().skip(1).map(|line| line.split(',').next().unwrap().to_owned()).collect()
    };
    let acme = Uuid::parse_str(ACME).unwrap();
    let unknown = Uuid::from_u128(5).simple().to_string();
    for (role, scope, expected) in [
        (Role::SuperUser, None, vec![unknown.as_str(), ACME]),
        (Role::Partner, Some(PARTNER), vec![ACME]),
        (Role::Reseller, Some(RESELLER), vec![ACME]),
        (Role::Service, Some(acme), vec![ACME]),
        (Role::Service, None, vec![]),
        (Role::Reseller, Some(Uuid::from_u128(0xee)), vec![]),
    ] {
        let key = world.key(role, scope, None).await;
        let answer = world.get_with(&key, "/api/export").await;
        assert_eq!((answer.status, answer.header("content-length")), (StatusCode::OK, None));
        assert_eq!(services(&answer), expected.into_iter().map(str::to_owned).collect(), "{role:?} {scope:?}");
        let named = world.get_with(&key, &format!("/api/export?ServiceGuid={unknown}")).await;
        assert_eq!(services(&named).len(), usize::from(role == Role::SuperUser), "{role:?} {scope:?}");
    }
    let key = world.key(Role::SuperUser, None, None).await;
    let day = format!("/api/export.csv?from=2026-03-03&to=2026-03-03&ServiceGuid={ACME}");
    let csv = world.get_with(&key, &day).await;
    assert_eq!(csv.header("content-disposition"), Some("attachment;filename=ExportUsage.csv"));
    assert_eq!(csv.body.lines().last(), Some(format!("{ACME},Daily,2026-03-03,2,1,0,0,1,0,0,0,0,0,1,1,1000").as_str()));
    let ndjson =
        world.get_with(&key, &format!("/api/export?format=NDJSON&PeriodType=1&ServiceGuid={ACME},{unknown}")).await;
    assert_eq!(ndjson.header("content-type"), Some("application/x-ndjson"));
    let lines: Vec<serde_json::Value> = ndjson.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["ServiceGuid"] == ACME && line["TotalMessageCount"] == 1));
    let before = world.get_with(&key, "/api/export?asOf=2026-03-03T00:00:00Z").await;
    assert_eq!(before.body.lines().count(), 1, "nothing was known then");
    assert_eq!(world.get_with(&key, "/api/export?from=2026-03-03&to=2026-03-01").await.body.lines().count(), 1);
    for (query, status) in [
        ("to=2026-03-05", "400"),
        ("format=xml", "400"),
        ("cursor=x", "400"),
        ("ServiceGuid=x,y", "400"),
        ("PeriodType=Weekly&From=soon", "400"),
        ("asOf=2999-01-01", "400"),
    ] {
        let error = world.get_with(&key, &format!("/api/export?{query}")).await.error();
        assert_eq!(&error[..3], status, "{query}: {error}");
    }
    assert_eq!(world.get_with(&key, "/api/xml/reply/ExportUsage").await.status, StatusCode::NOT_FOUND);
}

async fn an_export_goes_on_behind_any_row(on: On) {
    let world = World::new(on).await;
    let whole = world.get("/api/export").await.body;
    let lines: Vec<&str> = whole.lines().collect();
    assert!(lines.len() > 5, "{whole}");
    for (place, line) in lines.iter().enumerate().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let rest = world.get(&format!("/api/export?cursor={}:{}", cells[0], cells[2])).await;
        assert_eq!(rest.body.lines().collect::<Vec<&str>>(), lines[place + 1..], "behind {line}");
    }
    let nil = Uuid::nil().simple().to_string();
    let all = world.get(&format!("/api/export?cursor={nil}:0001-01-01")).await;
    assert_eq!(all.body.lines().collect::<Vec<&str>>(), lines[1..]);
}

async fn bodies_are_compressed_as_the_client_asks(on: On) {
    let world = World::new(on).await;
    let path = "/api/services/usage";
    let plain = world.get(path).await;
    let raw = async |encoding: &str| {
        use http_body_util::BodyExt as _;
        use tower::ServiceExt as _;
        let request = request(Method::GET, path, &[("accept-encoding", encoding)]);
        let response = api::router(world.api_at(INGESTED)).oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        (head.headers, body.collect().await.unwrap().to_bytes())
    };
    assert!(plain.body.len() > 1_400 && plain.header("content-encoding").is_none());
    let mut tags = vec![plain.header("etag").unwrap().to_owned()];
    for encoding in ["gzip", "zstd"] {
        let (headers, body) = raw(encoding).await;
        assert_eq!(headers["content-encoding"], encoding);
        assert_eq!(headers["content-length"], body.len().to_string().as_str());
        assert_eq!(headers["vary"], "Accept, Accept-Encoding");
        let mut decoded = String::new();
        match encoding {
            "gzip" => flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut decoded).unwrap(),
            _ => zstd::stream::read::Decoder::new(&body[..]).unwrap().read_to_string(&mut decoded).unwrap(),
        };
        assert_eq!(decoded, plain.body);
        tags.push(headers["etag"].to_str().unwrap().to_owned());
    }
    for (place, tag) in tags.iter().enumerate() {
        assert_eq!(tags.iter().filter(|other| *other == tag).count(), 1, "{tags:?}");
        let again = with_header(&world, path, "if-none-match", tag).await;
        assert_eq!(again.status == StatusCode::NOT_MODIFIED, place == 0, "{tag}");
    }
    let ping = with_header(&world, "/api/ping", "accept-encoding", "gzip").await;
    assert_eq!(ping.header("content-encoding"), None, "it fits into a packet as it is");
    let error = with_header(&world, "/api/nothing", "accept-encoding", "gzip").await;
    assert_eq!(error.header("content-encoding"), None);
}

async fn other_origins_are_let_in_by_name_alone(on: On) {
    let world = World::with(on, &[("api.cors_origins", "https://a.example, https://b.example:8443")]).await;
    let key = world.key(Role::SuperUser, None, None).await;
    let preflight = |origin: &'static str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "GET"),
            ("access-control-request-headers", "authorization"),
        ];
        world.ask(INGESTED, request(Method::OPTIONS, "/api/ping", &headers))
    };
    let let_in = preflight("https://b.example:8443").await;
    assert_eq!(
        (let_in.status, let_in.header("access-control-allow-origin")),
        (StatusCode::NO_CONTENT, Some("https://b.example:8443"))
    );
    assert!(let_in.header("access-control-allow-headers").unwrap().contains("Authorization"));
    for origin in ["https://b.example", "https://a.example.evil", "null", "http://a.example", "https://A.example"] {
        let refused = preflight(origin).await;
        assert_eq!(
            (refused.status, refused.header("access-control-allow-origin")),
            (StatusCode::UNAUTHORIZED, None),
            "{origin}"
        );
    }
    let bearer = format!("Bearer {key}");
    for (path, status) in [("/api/ping", StatusCode::OK), ("/api/nothing", StatusCode::NOT_FOUND)] {
        let headers = [("origin", "https://a.example"), ("authorization", bearer.as_str())];
        let answer = world.ask(INGESTED, request(Method::GET, path, &headers)).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (status, Some("https://a.example")));
        assert_eq!(answer.header("vary"), Some("Accept, Accept-Encoding, Origin"));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        assert!(answer.header("access-control-expose-headers").unwrap().contains("X-Usage-State"));
    }
    let other = World::new(on).await;
    let off = with_header(&other, "/api/ping", "origin", "https://a.example").await;
    assert_eq!(
        (off.header("access-control-allow-origin"), off.header("vary")),
        (None, Some("Accept, Accept-Encoding"))
    );
}

async fn requests_of_a_key_are_counted_where_a_rate_is_set(on: On) {
    use tower::ServiceExt as _;
    let world = World::with(on, &[("api.requests_per_second", "1"), ("api.requests_at_once", "3")]).await;
    let (key, other) = (world.key(Role::SuperUser, None, None).await, world.key(Role::SuperUser, None, None).await);
    // One router, for it is what counts.
    let router = api::router(world.api_at(INGESTED));
    let ask = |key: &str, path: &str| {
        let bearer = format!("Bearer {key}");
        router.clone().oneshot(request(Method::GET, path, &[("authorization", &bearer)]))
    };
    for (path, left) in [("/api/ping", "2"), ("/api/nothing", "1"), ("/api/ping", "0")] {
        let answer = ask(&key, path).await.unwrap();
        assert_eq!(answer.headers()["ratelimit"], format!("\"key\";r={left}").as_str());
        assert_eq!(answer.headers()["ratelimit-policy"], "\"key\";q=3;w=3");
    }
    let refused = ask(&key, "/api/ping").await.unwrap();
    assert_eq!(
        (refused.status(), &refused.headers()["retry-after"]),
        (StatusCode::TOO_MANY_REQUESTS, &"1".parse().unwrap())
    );
    assert_eq!(refused.headers()["ratelimit"], "\"key\";r=0");
    assert_eq!(ask(&other, "/api/ping").await.unwrap().status(), StatusCode::OK);
    assert_eq!(ask("nonsense", "/api/ping").await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

async fn what_is_too_much_is_refused_in_json(on: On) {
    let world = World::new(on).await;
    let long = world.get(&format!("/api/ping?x={}", "x".repeat(8_192))).await.error();
    assert!(long.starts_with("414 ") && long.contains("UriTooLong"), "{long}");
    assert_eq!(world.get(&format!("/api/ping?x={}", "x".repeat(8_000))).await.status, StatusCode::OK);
    assert_eq!(world.get(&"/a".repeat(4_500)).await.status, StatusCode::URI_TOO_LONG);
    assert_eq!(world.get(&"/a".repeat(4_000)).await.status, StatusCode::NOT_FOUND);
    let large = with_header(&world, "/api/ping", "content-length", "65537").await.error();
    assert!(large.starts_with("413 ") && large.contains("RequestEntityTooLarge"), "{large}");
    assert_eq!(with_header(&world, "/api/ping", "content-length", "65536").await.status, StatusCode::OK);
}

/// In every parameter of every operation.
async fn no_parameter_is_too_hostile(on: On) {
    let world = World::new(on).await;
    super::api::fill(world.dir.path(), &world.config, INGESTED, FORMULA).await;
    let hostile = [
        "'; DROP TABLE service_usage; --",
        "%27%20OR%201=1--",
        "%00",
        "%ff%fe",
        "..%2f..%2fetc%2fpasswd",
        "%0d%0aX-Evil:%201",
        "%F0%9F%92%A9",
        "99999999999999999999999",
        "-1",
        "%25%73%n",
        "{{7*7}}",
        "a%E2%80%AEb",
        "1e309",
    ];
    let document = world.get("/api/openapi.json").await.json();
    for (path, item) in document["paths"].as_object().unwrap() {
        for parameter in item["get"]["parameters"].as_array().unwrap() {
            let name = parameter["name"].as_str().unwrap();
            for value in hostile {
                let value = value.replace(' ', "%20").replace(['{', '}'], "");
                let variable = format!("{{{name}}}");
                let filled = path.replace(&variable, &value).replace("{ServiceGuid}", ACME);
                let filled = filled.replace("{ResellerGuid}", &RESELLER.simple().to_string());
                let filled = filled.replace("{UserGuid}", "00000000000000000000000000000011");
                let filled = filled.replace("{PartnerGuid}", &PARTNER.simple().to_string());
                let answer = world.get(&format!("{filled}?{name}={value}")).await;
                assert!(answer.status.as_u16() < 500, "{path} {name}={value}: {} {}", answer.status, answer.body);
                assert!(answer.header("x-evil").is_none() && answer.header("x-request-id").is_some());
            }
        }
    }
    let csv = world.get("/api/services.csv?name=hyperlink").await.body;
    assert!(csv.contains(&format!("{ACME},'=HYPERLINK(1),TrialActive,-5,'@x,")), "{csv}");
    assert_eq!(world.get("/api/services?name=hyperlink").await.json()["results"][0]["name"], "=HYPERLINK(1)");
}

/// There is room for one connection, and the one that has it says nothing, or half a head.
async fn an_idle_connection_makes_room_for_others(on: On) {
    let world = World::with(on, &[("api.auth", "off"), ("api.idle_timeout", "1s"), ("api.max_connections", "1")]).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let bounds = api::Bounds::new(&world.config.api);
    let serving = tokio::spawn(api::serve(listener, world.api_at(INGESTED), bounds, std::future::pending()));
    let exchange = move |begins: &'static str| {
        let mut idle = std::net::TcpStream::connect(address).unwrap();
        idle.write_all(begins.as_bytes()).unwrap();
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(b"GET /api/ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let mut rest = Vec::new();
        let _ = idle.read_to_end(&mut rest);
        answer
    };
    for begins in ["", "GET /api/ping HTTP/1.1\r\nHost:"] {
        let answer = tokio::task::spawn_blocking(move || exchange(begins)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{begins}: {answer}");
    }
    serving.abort();
}
