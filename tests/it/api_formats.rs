//! The formats of answers, and how a request chooses among them.

use axum::http::{Method, StatusCode};

use super::api::{ACME, INGESTED, World, request};
use super::stores::{On, on_each_store};

on_each_store!(
    async a_report_is_the_same_in_every_format,
    a_request_chooses_its_format_by_suffix_callback_query_route_and_accept,
    errors_are_json_in_every_format,
    each_format_has_a_tag_of_its_own,
);

const NUMBERS: &str = "2,1,0,0,1,0,0,0,0,0,1,1,1000";

fn usage(suffix: &str) -> String {
    format!("/api/services/{ACME}/serviceusage{suffix}")
}

async fn a_report_is_the_same_in_every_format(on: On) {
    let world = World::new(on).await;
    let csv = world.get(&usage(".csv")).await;
    let lines: Vec<&str> = csv.body.split("\r\n").collect();
    assert_eq!(lines.len(), 3, "{}", csv.body);
    assert!(lines[0].starts_with("ServiceGuid,Name,Status,") && lines[0].ends_with(",AttachmentStorageUsage"));
    assert!(
        lines[1].starts_with(&format!(
            "{ACME},\"Acme \"\"Secure\"\" <é>\",TrialActive,ACME,r-1,acme.example,2026-01-31T04:30:00Z,2026-04-01,2026-02-01,12,"
        )),
        "{}",
        csv.body
    );
    assert!(lines[1].ends_with(&format!(",Daily,2026-03-03,{NUMBERS}")), "{}", csv.body);
    assert_eq!(csv.header("content-type"), Some("text/csv"));
    assert_eq!(csv.header("content-disposition"), Some("attachment;filename=GetServiceUsage.csv"));

    let xml = world.get(&usage(".xml")).await;
    for part in [
        "<ServiceUsageResponse xmlns:i=",
        "<AttachmentStorageUsage>1000</AttachmentStorageUsage><ClientGuid>00000000-0000-0000-0000-0000000000a2</ClientGuid>",
        r#"<Company><Address i:nil="true"/><City>Oslo</City>"#,
        r#"<Name>Acme "Secure" &lt;é&gt;</Name>"#,
        "<Period>2026-03-03T00:00:00Z</Period>",
        r#"</UnregisteredUserCount><ResponseStatus i:nil="true"/></ServiceUsageResponse>"#,
    ] {
        assert!(xml.body.contains(part), "{part} in {}", xml.body);
    }

    let jsv = world.get(&usage(".jsv")).await;
    for part in [
        r#"{serviceGuid:3f2b8c1e7d544f0a9a550d6f1f8f7a10,name:"Acme ""Secure"" <é>",status:TrialActive,"#,
        r#"company:{name:Acme,city:Oslo,website:"https://acme.example"}"#,
        "period:2026-03-03,totalUserCount:2,",
    ] {
        assert!(jsv.body.contains(part), "{part} in {}", jsv.body);
    }
    for answer in [csv, xml, jsv] {
        assert_eq!(answer.header("x-usage-state"), Some("settling"));
        assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
    }
}

async fn a_request_chooses_its_format_by_suffix_callback_query_route_and_accept(on: On) {
    let world = World::new(on).await;
    for (path, accept, content_type) in [
        ("/api/ping", "", "application/json; charset=utf-8"),
        ("/api/ping", "*/*", "application/json; charset=utf-8"),
        ("/api/ping", "application/xml", "application/xml"),
        ("/api/ping?format=csv", "application/xml", "text/csv"),
        ("/api/ping?format=odd", "application/xml", "application/xml"),
        ("/api/ping?FORMAT=&format=jsv", "application/xml", "application/jsv"),
        ("/api/ping?format=xml&callback=f", "text/csv", "text/javascript"),
        ("/api/ping.csv?callback=f&format=xml", "application/xml", "text/csv"),
        ("/api/xml/reply/Ping", "application/json", "application/xml"),
        ("/api/xml/reply/Ping?format=jsv", "application/json", "application/jsv"),
        ("/jsv/reply/ping.json", "application/xml", "application/json; charset=utf-8"),
        ("/api/json/reply/Ping", "application/xml", "application/json; charset=utf-8"),
        ("/api/Ping.xml", "", "application/xml"),
        ("/api/services.csv", "", "text/csv"),
        ("/api/services/usage.jsv", "", "application/jsv"),
    ] {
        let answer = world.ask(INGESTED, request(Method::GET, path, &[("accept", accept)])).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (StatusCode::OK, Some(content_type)),
            "{path} {accept}"
        );
        assert_eq!(answer.header("vary"), Some("Accept, Accept-Encoding"));
    }
    let wrapped = world.get("/api/ping?callback=a.b(%27%3C").await;
    assert_eq!(wrapped.body, format!("a.b___({})", world.get("/api/ping").await.body));
}

async fn errors_are_json_in_every_format(on: On) {
    let world = World::new(on).await;
    let expected = world.get("/api/services/x").await.error();
    assert!(expected.starts_with("400 "), "{expected}");
    for path in ["/api/services/x.xml", "/api/services/x?format=csv", "/api/services/x?callback=f"] {
        assert_eq!(world.get(path).await.error(), expected, "{path}");
    }
}

async fn each_format_has_a_tag_of_its_own(on: On) {
    let world = World::new(on).await;
    let tag = world.get(&usage(".xml")).await.header("etag").unwrap().to_owned();
    for (suffix, status) in [(".xml", StatusCode::NOT_MODIFIED), (".csv", StatusCode::OK), ("", StatusCode::OK)] {
        let answer = world.ask(INGESTED, request(Method::GET, &usage(suffix), &[("if-none-match", &tag)])).await;
        assert_eq!(answer.status, status, "{suffix}");
    }
}
