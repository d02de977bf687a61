//! Reports of users by month, and of changes of status.

use axum::http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::api::{ACME, BLOCKED, INGESTED, PARTNER, PROVISIONING, RESELLER, World, fill};
use super::stores::{On, on_each_store};

on_each_store!(
    async users_are_counted_by_month_with_what_has_changed,
    a_report_of_users_is_the_same_as_the_months_rows,
    months_that_make_no_sense_are_refused,
    changes_of_status_come_in_order_each_with_its_service,
    changes_of_status_are_filtered,
    documents_of_reports_have_every_form,
);

const OTHER: &str = "000000000000000000000000000000f1";

fn event(id: &str, kind: &str, service: &str, time: &str, data: &Value) -> String {
    let (specversion, source) = ("1.0", "/reports");
    json!({"specversion": specversion, "id": id, "source": source, "type": kind, "subject": service, "time": time, "data": data})
        .to_string()
}

/// Another service of the partner's, with users from November on, and changes of status.
async fn world(on: On) -> World {
    let world = World::new(on).await;
    let of_partner = json!({"name": "Other", "status": "TrialActive", "partnerGuid": PARTNER.simple().to_string(), "createdOn": "2025-01-01"});
    let user = |number: u128| Uuid::from_u128(number).simple().to_string();
    let joined = |id: u128, group: &str, time: &str| {
        event(&format!("u{id}"), "user.registered", OTHER, time, &json!({"userGuid": user(id), "groupType": group}))
    };
    let lines = [
        event("s1", "service.updated", OTHER, "2025-11-01T00:00:00Z", &of_partner),
        joined(1, "Professional", "2025-11-10T00:00:00Z"),
        joined(2, "Professional", "2025-11-10T00:00:00Z"),
        joined(3, "Professional", "2025-12-10T00:00:00Z"),
        joined(4, "Guest", "2026-01-10T00:00:00Z"),
        event("off", "user.disabled", OTHER, "2026-02-10T00:00:00Z", &json!({"userGuid": user(1)})),
        event("s2", "service.updated", OTHER, "2026-01-05T10:20:30.5Z", &json!({"status": "TrialExpired"})),
        event(
            "s3",
            "service.updated",
            OTHER,
            "2026-01-06T00:00:00Z",
            &json!({"status": "TrialExpired", "name": "Other"}),
        ),
        event("s4", "service.updated", OTHER, "2026-02-06T00:00:00Z", &json!({"status": null})),
        event("s5", "service.updated", OTHER, "2026-02-07T00:00:00Z", &json!({"status": "Blocked"})),
        event(
            "v5",
            "event.voided",
            OTHER,
            "2026-02-08T00:00:00Z",
            &json!({"source": "/reports", "id": "s5", "time": "2026-02-07T00:00:00Z"}),
        ),
    ];
    fill(world.dir.path(), &world.config, INGESTED, &(lines.join("\n") + "\n")).await;
    world
}

fn of_partner(query: &str) -> String {
    format!("/api/partners/{}/serviceusercountreport?{query}", PARTNER.simple())
}

async fn users_are_counted_by_month_with_what_has_changed(on: On) {
    let world = Box::pin(world(on)).await;
    let answer = world.get(&of_partner("startPeriod=2025-12-31&endPeriod=2026-02-01T10:00:00Z&pageSize=1")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let stat = |month: &str, total: i64, changed: &str| {
        format!(r#"{{"period":"{month}-01T00:00:00Z","total":{total},"percentageChanged":{changed}}}"#)
    };
    let pro = [stat("2025-12", 3, "50"), stat("2026-01", 3, "0"), stat("2026-02", 2, "-33.333333333333336")].join(",");
    let guest = [stat("2025-12", 0, "0"), stat("2026-01", 1, "100"), stat("2026-02", 1, "0")].join(",");
    let record = format!(
        r#"{{"serviceGuid":"{OTHER}","serviceStatus":"CertifiedSecure","createdOn":"2025-01-01T00:00:00Z","proUserCounts":[{pro}],"guestUserCounts":[{guest}]}}"#
    );
    let expected = format!(
        r#"{{"startPeriod":"2025-12-01T00:00:00Z","endPeriod":"2026-02-01T00:00:00Z","totalPeriodProUserCounts":[{pro}],"totalPeriodGuestUserCounts":[{guest}],"pageSize":1,"totalPages":3,"totalItems":3,"currentPage":1,"results":[{record}]}}"#
    );
    assert_eq!(answer.body, expected);
    assert!(answer.header("x-usage-state").is_some() && answer.header("etag").is_some());
    // Through this month, where a user of Acme's is one of the totals, on whatever page.
    let page = world.get(&of_partner("startPeriod=2026-03-01&page=3&pageSize=1")).await.json();
    assert_eq!(page["endPeriod"], "2026-03-01T00:00:00Z");
    assert_eq!(page["totalPeriodProUserCounts"][0]["total"], 3);
    assert_eq!(page["results"].as_array().unwrap().len(), 1);
    let acme = format!("/api/resellers/{}/serviceusercountreport?startPeriod=2026-03-01", RESELLER.simple());
    let acme = world.get(&acme).await.json();
    let members =
        ["serviceCode", "referenceId", "collectionName", "resellerName", "companyName", "companyCity", "primaryDomain"];
    let told: Vec<&Value> = members.iter().map(|member| &acme["results"][0][member]).collect();
    assert_eq!(told, ["ACME", "r-1", "Main", "Res", "Acme", "Oslo", "acme.example"]);
    assert_eq!(
        acme["results"][0]["proUserCounts"][0],
        json!({"period": "2026-03-01T00:00:00Z", "total": 1, "percentageChanged": 100})
    );
}

async fn a_report_of_users_is_the_same_as_the_months_rows(on: On) {
    let world = Box::pin(world(on)).await;
    for as_of in ["", "&asOf=2026-03-04T10:00:00Z"] {
        let report = world.get(&of_partner(&format!("startPeriod=2025-10-01{as_of}"))).await.json();
        for record in report["results"].as_array().unwrap() {
            let service = record["serviceGuid"].as_str().unwrap();
            for (pro, guest) in
                record["proUserCounts"].as_array().unwrap().iter().zip(record["guestUserCounts"].as_array().unwrap())
            {
                let month = pro["period"].as_str().unwrap();
                let path = format!("/api/services/{service}/serviceusage?periodType=Monthly&period={month}{as_of}");
                let usage = world.get(&path).await;
                if usage.status == StatusCode::OK {
                    let usage = usage.json();
                    assert_eq!(
                        [&pro["total"], &guest["total"]],
                        [&usage["proUserCount"], &usage["guestUserCount"]],
                        "{path}"
                    );
                }
            }
        }
        let sum = |member: &str| -> Vec<i64> {
            let of_service = |record: &Value| -> Vec<i64> {
                record[member].as_array().unwrap().iter().map(|stat| stat["total"].as_i64().unwrap()).collect()
            };
            let all: Vec<Vec<i64>> = report["results"].as_array().unwrap().iter().map(of_service).collect();
            (0..all[0].len()).map(|month| all.iter().map(|of| of[month]).sum()).collect()
        };
        let totals: Vec<i64> = report["totalPeriodProUserCounts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|stat| stat["total"].as_i64().unwrap())
            .collect();
        assert_eq!(totals, sum("proUserCounts"));
    }
    let then = world.get(&of_partner("startPeriod=2026-01-01&endPeriod=2026-01-01&asOf=2026-03-01")).await.json();
    assert_eq!(then["totalPeriodProUserCounts"][0]["total"], 0, "nothing was known then");
}

async fn months_that_make_no_sense_are_refused(on: On) {
    let world = World::new(on).await;
    for (query, expected) in [
        ("", r#""ArgumentException","message":"StartPeriod is required"#),
        (
            "startPeriod=x",
            r#""SerializationException","message":"Unable to bind to request 'GetPartnerServiceUserCountReport'"#,
        ),
        ("startPeriod=2026-04-01", r#""ArgumentException","message":"the month 2026-04-01 is in the future"#),
        (
            "startPeriod=2026-01-01&endPeriod=2026-05-01",
            r#""ArgumentException","message":"the month 2026-05-01 is in the future"#,
        ),
        (
            "startPeriod=2026-02-01&endPeriod=2026-01-31",
            r#""ArgumentException","message":"StartPeriod, 2026-02-01, is after EndPeriod"#,
        ),
        (
            "startPeriod=1990-01-01",
            r#""ArgumentException","message":"from 1990-01-01 through 2026-03-01 are more than 240 months"#,
        ),
    ] {
        let told = world.get(&of_partner(query)).await.error();
        assert!(told.starts_with("400 ") && told.contains(expected), "{query}: {told}");
    }
    let unknown = "/api/partners/00000000000000000000000000000077/serviceusercountreport?startPeriod=2026-02-01";
    let told = world.get(unknown).await.error();
    assert!(told.starts_with("404 ") && told.contains("there is no partner"), "{told}");
}

/// Service, status and instant of each change.
fn told(body: &Value) -> Vec<[String; 3]> {
    let text = |change: &Value, member: &str| change[member].as_str().unwrap().to_owned();
    let one = |change: &Value| ["serviceGuid", "status", "changedOn"].map(|member| text(change, member));
    body["results"].as_array().unwrap().iter().map(one).collect()
}

async fn changes_of_status_come_in_order_each_with_its_service(on: On) {
    let world = Box::pin(world(on)).await;
    let all = world.get("/api/services/status").await;
    assert_eq!(all.status, StatusCode::OK, "{}", all.body);
    let expected = [
        [OTHER, "TrialActive", "2025-11-01T00:00:00Z"],
        [OTHER, "TrialExpired", "2026-01-05T10:20:30Z"],
        [OTHER, "CertifiedSecure", "2026-02-06T00:00:00Z"],
        [ACME, "TrialActive", "2026-01-30T08:00:00Z"],
        [BLOCKED, "Blocked", "2026-02-01T08:00:00Z"],
        [PROVISIONING, "Provisioning", "2026-02-01T08:00:00Z"],
    ];
    assert_eq!(told(&all.json()), expected.map(|change| change.map(str::to_owned)));
    let mut by_page = Vec::new();
    for page in 1..=3 {
        let page = world.get(&format!("/api/services/status?pageSize=2&page={page}")).await.json();
        assert_eq!((&page["totalItems"], &page["totalPages"]), (&json!(6), &json!(3)));
        by_page.extend(page["results"].as_array().unwrap().clone());
    }
    assert_eq!(Value::from(by_page), all.json()["results"]);
    let change = &all.json()["results"][3];
    let names: Vec<&String> = change.as_object().unwrap().keys().collect();
    let report = world.get(&format!("/api/services/{ACME}/serviceusage")).await.json();
    assert_eq!(change["serviceUsage"], report);
    for member in [
        "serviceName",
        "serviceCode",
        "primaryDomain",
        "createdOn",
        "resellerGuid",
        "resellerName",
        "partnerGuid",
        "partnerName",
    ] {
        assert!(names.iter().any(|name| *name == member), "{member} in {names:?}");
    }
    let guids: std::collections::BTreeSet<String> = all.json()["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| change["serviceStatusChangeGuid"].to_string())
        .collect();
    assert_eq!(guids.len(), 6);
}

async fn changes_of_status_are_filtered(on: On) {
    let world = Box::pin(world(on)).await;
    for (query, expected) in [
        (format!("serviceGuid={OTHER}"), 3),
        (format!("resellerGuid={}", RESELLER.simple()), 1),
        (format!("partnerGuid={}", PARTNER.simple()), 5),
        (format!("serviceGuid={OTHER}&changedAfterDateTime=2026-01-05T10:20:30Z"), 2),
        (format!("serviceGuid={OTHER}&changedAfterDateTime=2026-01-05T10:20:31Z"), 1),
        (format!("serviceGuid={OTHER}&changedBeforeDateTime=2026-01-05T10:20:30Z"), 2),
        (format!("serviceGuid={OTHER}&changedBeforeDateTime=2026-01-05T10:20:29Z"), 1),
        ("changedByUserGuid=00000000000000000000000000000011".to_owned(), 0),
        ("changedByUserEmail=a@b.example".to_owned(), 0),
        ("changedAfterDateTime=2027-01-01".to_owned(), 0),
    ] {
        let answer = world.get(&format!("/api/services/status?{query}")).await;
        assert_eq!(
            (answer.status, answer.number("totalItems")),
            (StatusCode::OK, expected),
            "{query}: {}",
            answer.body
        );
        assert_eq!(told(&answer.json()).len(), usize::try_from(expected).unwrap());
    }
}

async fn documents_of_reports_have_every_form(on: On) {
    let world = Box::pin(world(on)).await;
    let query = "startPeriod=2026-01-01&endPeriod=2026-01-01&pageSize=1";
    let form = async |format: &str| {
        let report = world.get(&of_partner(&format!("{query}&format={format}"))).await.body;
        let status =
            world.get(&format!("/api/services/status?serviceGuid={OTHER}&pageSize=1&format={format}")).await.body;
        format!("{report}\n{status}")
    };
    let forms = format!("{}\n\n{}\n\n{}", form("csv").await, form("jsv").await, form("xml").await);
    // One snapshot for both stores.
    insta::with_settings!({ prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("api_reports", forms);
    });
}
