//! Lists: what is in them, in which order, and page by page.

use axum::http::StatusCode;
use serde_json::Value;
use usage_rollup::store::Role;
use uuid::Uuid;

use super::api::{ACME, BARE, BLOCKED, INGESTED, PARTNER, PROVISIONING, RESELLER, World, fill};
use super::stores::{On, on_each_store};

on_each_store!(
    async a_page_has_the_published_members_in_order,
    pages_hold_every_service_once_in_the_order_of_creation,
    a_list_tells_what_each_report_tells,
    filters_narrow_and_never_widen,
    a_search_finds_whatever_fits_one_term,
    a_service_is_shown_whatever_its_status,
    a_reseller_that_is_not_there_is_404,
    a_list_tells_its_least_final_state_and_its_highest_revision,
    numbers_are_told_as_they_stood_then,
    parameters_of_lists_are_checked,
);

/// The GUIDs in a page, and the total.
fn listed(body: &Value) -> (Vec<String>, i64) {
    let results = body["results"].as_array().unwrap_or_else(|| panic!("no results in {body}"));
    let guids = results.iter().map(|result| result["serviceGuid"].as_str().unwrap().to_owned()).collect();
    (guids, body["totalItems"].as_i64().unwrap())
}

async fn list(world: &World, path: &str) -> (Vec<String>, i64) {
    let answer = world.get(path).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
    listed(&answer.json())
}

/// Services of a partner and a reseller of their own, three of which are created at a time; each has as many messages as its
/// number says.
async fn many(world: &World, services: u128) {
    let mut lines = Vec::new();
    for number in 1..=services {
        let (guid, created) = (Uuid::from_u128(0xf00_u128 + number * 7 % 61), 1 + (services - number) / 3);
        lines.push(format!(
            r#"{{"specversion":"1.0","id":"e{number}","source":"/t","type":"service.updated","subject":"{guid}","time":"2026-02-01T08:00:00Z","data":{{"name":"Many {number}","createdOn":"2025-01-{created:02}","partnerGuid":"{}","resellerGuid":"{}"}}}}"#,
            Uuid::from_u128(0xc9),
            Uuid::from_u128(0xb9),
        ));
        for message in 0..number % 3 {
            lines.push(format!(
                r#"{{"specversion":"1.0","id":"m{number}-{message}","source":"/t","type":"message.sent","subject":"{guid}","time":"2026-03-03T08:00:00Z","data":{{"messageGuid":"{}","userGuid":"{}"}}}}"#,
                Uuid::from_u128(number * 100 + message),
                Uuid::from_u128(5),
            ));
        }
    }
    fill(world.dir.path(), &world.config, INGESTED, &(lines.join("\n") + "\n")).await;
}

async fn a_page_has_the_published_members_in_order(on: On) {
    let world = World::new(on).await;
    let answer = world.get("/api/services/usage?pageSize=1").await;
    let report = world.get(&format!("/api/services/{ACME}/serviceusage")).await;
    assert_eq!(
        answer.body,
        format!(r#"{{"pageSize":1,"totalPages":2,"totalItems":2,"currentPage":1,"results":[{}]}}"#, report.body)
    );
    let services = world.get("/api/services?pageSize=1").await;
    let service = world.get(&format!("/api/services/{ACME}")).await;
    assert_eq!(
        service.body,
        concat!(
            r#"{"serviceGuid":"3f2b8c1e7d544f0a9a550d6f1f8f7a10","name":"Acme \"Secure\" <é>","status":"TrialActive","#,
            r#""serviceCode":"ACME","referenceId":"r-1","primaryDomain":"acme.example","createdOn":"2026-01-31T04:30:00Z","#,
            r#""trialEndDate":"2026-04-01T00:00:00Z","effectiveDate":"2026-02-01T00:00:00Z","initialTerm":12,"#,
            r#""collectionGuid":"000000000000000000000000000000a1","clientGuid":"000000000000000000000000000000a2","#,
            r#""resellerGuid":"000000000000000000000000000000b1","resellerName":"Res","#,
            r#""partnerGuid":"000000000000000000000000000000c1","partnerName":"Par"}"#,
        )
    );
    assert_eq!(
        services.body,
        format!(r#"{{"pageSize":1,"totalPages":4,"totalItems":4,"currentPage":1,"results":[{}]}}"#, service.body)
    );
    assert_eq!(services.header("x-usage-state"), None, "it is no report");
    let empty = world.get(&format!("/api/services/usage?serviceGuid={BLOCKED}")).await;
    assert_eq!(empty.body, r#"{"pageSize":25,"totalPages":0,"totalItems":0,"currentPage":1,"results":[]}"#);
    assert_eq!(empty.header("x-usage-state"), Some("none"));
}

async fn pages_hold_every_service_once_in_the_order_of_creation(on: On) {
    let world = World::new(on).await;
    many(&world, 60).await;
    for path in ["/api/services/usage", "/api/services", "/api/services?name=a", "/api/GetServicesUsage"] {
        let separator = if path.contains('?') { '&' } else { '?' };
        let whole = world.get(&format!("{path}{separator}pageSize=1000")).await.json();
        let (all, total) = listed(&whole);
        assert_eq!(all.len(), usize::try_from(total).unwrap(), "{path}");
        assert!(total > 50, "{path}: {total}");
        let key = |result: &Value| {
            [&result["createdOn"], &result["serviceGuid"]].map(|member| member.as_str().unwrap().to_owned())
        };
        assert!(whole["results"].as_array().unwrap().is_sorted_by_key(key), "{path}");
        let mut by_page = Vec::new();
        for page in 1..=3 {
            let (guids, told) = list(&world, &format!("{path}{separator}page={page}")).await;
            assert_eq!(told, total, "{path}");
            by_page.extend(guids);
        }
        assert_eq!(by_page, all, "{path}");
        for page in [4, i32::MAX] {
            let behind = world.get(&format!("{path}{separator}page={page}")).await;
            assert_eq!(behind.status, StatusCode::OK);
            assert_eq!(listed(&behind.json()), (vec![], total), "{path}");
            assert_eq!(behind.number("totalPages"), 3);
        }
    }
}

async fn a_list_tells_what_each_report_tells(on: On) {
    let world = World::new(on).await;
    many(&world, 30).await;
    for query in ["", "periodType=Monthly", "period=2026-03-02", "asOf=2026-03-04T10:00:00Z"] {
        let whole = world.get(&format!("/api/services/usage?pageSize=100&{query}")).await.json();
        let results = whole["results"].as_array().unwrap();
        assert_eq!(results.len(), 32);
        for result in results {
            let service = result["serviceGuid"].as_str().unwrap();
            let report = world.get(&format!("/api/services/{service}/serviceusage?{query}")).await;
            assert_eq!(*result, report.json(), "{query}");
        }
    }
    let reseller = "/api/resellers/000000000000000000000000000000b9/serviceusagelist?pageSize=40";
    let of_reseller = world.get(reseller).await;
    let filtered = world.get("/api/services/usage?pageSize=40&resellerGuid=000000000000000000000000000000b9").await;
    assert_eq!(of_reseller.body, filtered.body);
    assert_eq!(of_reseller.number("totalItems"), 30);
}

async fn filters_narrow_and_never_widen(on: On) {
    let world = World::with(on, &[]).await;
    let (all, partner) =
        (world.key(Role::SuperUser, None, None).await, world.key(Role::Partner, Some(PARTNER), None).await);
    let (b1, c1) = (RESELLER.simple(), PARTNER.simple());
    for (query, seen_by_all, seen_by_partner) in [
        (String::new(), vec![ACME, BARE], vec![ACME]),
        (format!("partnerGuid={c1}"), vec![ACME], vec![ACME]),
        (format!("partnerGuid={b1}"), vec![], vec![]),
        (format!("resellerGuid={{{}}}&partnerGuid={c1}", RESELLER.hyphenated()), vec![ACME], vec![ACME]),
        (format!("serviceGuid={BARE}"), vec![BARE], vec![]),
        (format!("serviceGuid={PROVISIONING}"), vec![], vec![]),
        (format!("serviceGuid={ACME}&resellerGuid={c1}"), vec![], vec![]),
        ("createdAfterDateTime=2026-01-31T04:30:00Z".to_owned(), vec![ACME, BARE], vec![ACME]),
        ("createdAfterDateTime=2026-01-31T04:30:01Z".to_owned(), vec![BARE], vec![]),
        ("createdBeforeDateTime=2026-01-31T04:30:00Z".to_owned(), vec![ACME], vec![ACME]),
        ("createdBeforeDateTime=2026-01-31T05:29:59%2B01:00".to_owned(), vec![], vec![]),
        ("createdAfterDateTime=20260201&createdBeforeDateTime=2026-02-02".to_owned(), vec![BARE], vec![]),
        ("createdAfterDateTime=2027-01-01&createdBeforeDateTime=2026-01-01".to_owned(), vec![], vec![]),
    ] {
        for (key, expected) in [(&all, seen_by_all), (&partner, seen_by_partner)] {
            let answer = world.get_with(key, &format!("/api/services/usage?{query}").replace(['{', '}'], "")).await;
            assert_eq!(answer.status, StatusCode::OK, "{query}: {}", answer.body);
            let (guids, total) = listed(&answer.json());
            assert_eq!(
                (guids, total),
                (expected.iter().map(|guid| (*guid).to_owned()).collect(), i64::try_from(expected.len()).unwrap()),
                "{query}"
            );
        }
    }
}

async fn a_search_finds_whatever_fits_one_term(on: On) {
    let world = World::new(on).await;
    for (query, expected) in [
        ("", vec![ACME, BARE, BLOCKED, PROVISIONING]),
        ("name=&code=", vec![ACME, BARE, BLOCKED, PROVISIONING]),
        ("name=bare", vec![BARE]),
        ("name=%C3%89", vec![ACME]),
        ("name=BAR&domain=acme.EX", vec![ACME, BARE]),
        ("code=acme", vec![ACME]),
        ("domain=nowhere", vec![]),
        ("name=%25", vec![]),
        ("name=%27%20OR%201=1%20--", vec![]),
        ("name=%00", vec![]),
        ("name=r&createdAfterDateTime=2026-02-01", vec![BARE]),
        ("createdBeforeDateTime=2026-02-01T08:00:00Z", vec![ACME, BARE, BLOCKED, PROVISIONING]),
    ] {
        assert_eq!(list(&world, &format!("/api/services?{query}")).await.0, expected, "{query}");
    }
}

async fn a_service_is_shown_whatever_its_status(on: On) {
    let world = World::new(on).await;
    let blocked = world.get(&format!("/api/services/{BLOCKED}")).await;
    assert_eq!((blocked.status, blocked.text("status").as_str()), (StatusCode::OK, "Blocked"));
    let missing = world.get("/api/services/00000000000000000000000000000005").await.error();
    assert!(missing.starts_with("404 ") && missing.contains("there is no service"), "{missing}");
}

async fn a_reseller_that_is_not_there_is_404(on: On) {
    let world = World::new(on).await;
    let missing = world.get("/api/resellers/000000000000000000000000000000b7/serviceusagelist").await;
    let expected = r#"404 {"responseStatus":{"errorCode":"NotFound","message":"there is no reseller 000000000000000000000000000000b7","errors":[]}}"#;
    assert_eq!(missing.error(), expected);
}

/// One more message of ACME, on a day that was closed by then.
const LATE: &str = r#"{"specversion":"1.0","id":"late","source":"/t","type":"message.sent","subject":"3f2b8c1e-7d54-4f0a-9a55-0d6f1f8f7a10","time":"2026-03-03T10:00:00Z","data":{"messageGuid":"00000000000000000000000000000099","userGuid":"00000000000000000000000000000011"}}
"#;
const LATER: &str = "2026-03-06T00:00:00Z";

async fn a_list_tells_its_least_final_state_and_its_highest_revision(on: On) {
    let world = World::new(on).await;
    many(&world, 3).await;
    fill(world.dir.path(), &world.config, LATER, LATE).await;
    let list = world.get_at(LATER, "/api/services/usage?period=2026-03-03").await;
    let told = ["x-usage-state", "x-usage-revision", "x-usage-as-of"].map(|name| list.header(name).unwrap().to_owned());
    assert_eq!(told, ["closed", "2", LATER]);
    assert!(list.header("etag").is_some() && list.header("last-modified").is_some());
    let acme = world.get_at(LATER, &format!("/api/services/usage?period=2026-03-03&serviceGuid={ACME}")).await;
    assert_eq!(acme.header("x-usage-state"), Some("restated"));
}

async fn numbers_are_told_as_they_stood_then(on: On) {
    let world = World::new(on).await;
    fill(world.dir.path(), &world.config, LATER, LATE).await;
    for path in [
        format!("/api/services/{ACME}/serviceusage?period=2026-03-03"),
        format!("/api/services/usage?serviceGuid={ACME}&period=2026-03-03"),
    ] {
        let messages = |as_of: &'static str| {
            let (world, path) = (&world, format!("{path}&asOf={as_of}"));
            async move {
                let body = world.get_at(LATER, &path).await.json();
                let usage = body.get("results").map_or(&body, |results| &results[0]);
                usage["totalMessageCount"].as_i64().unwrap()
            }
        };
        assert_eq!(messages("").await, 2, "{path}");
        assert_eq!(messages(LATER).await, 2, "{path}");
        assert_eq!(messages("2026-03-05T23:59:59Z").await, 1, "{path}");
        assert_eq!(messages("2026-03-01").await, 0, "{path}");
        assert_eq!(messages("0001-01-01").await, 0, "{path}");
    }
}

async fn parameters_of_lists_are_checked(on: On) {
    let world = World::new(on).await;
    for path in
        ["/api/services/usage", "/api/services", "/api/resellers/000000000000000000000000000000b1/serviceusagelist"]
    {
        let refused = world.get(&format!("{path}?page=0&pageSize=1001")).await.error();
        let expected = concat!(
            r#"400 {"responseStatus":{"errorCode":"ArgumentException","message":"Page is 0; it must be 1 or more; PageSize is 1001; it must be from 1 to 1000","errors":["#,
            r#"{"errorCode":"ArgumentException","fieldName":"Page","message":"Page is 0; it must be 1 or more"},"#,
            r#"{"errorCode":"ArgumentException","fieldName":"PageSize","message":"PageSize is 1001; it must be from 1 to 1000"}]}}"#,
        );
        assert_eq!(refused, expected, "{path}");
        let malformed = world.get(&format!("{path}?page=one&pageSize=0")).await.error();
        assert!(
            malformed.contains(r#""fieldName":"Page","message":"'one' is an Invalid value for 'Page'""#),
            "{malformed}"
        );
    }
    let many =
        world.get("/api/services/usage?partnerGuid=x&createdAfterDateTime=soon&periodType=2&period=2099-01-01").await;
    for field in ["PartnerGuid", "CreatedAfterDateTime", "PeriodType"] {
        assert!(many.error().contains(&format!(r#""fieldName":"{field}""#)), "{}", many.body);
    }
    let future = world.get("/api/services/usage?period=2099-01-01").await.error();
    assert!(future.contains("ArgumentException") && future.contains("in the future"), "{future}");
}
