//! `verify` and `explain` as a user sees them.

use std::fs;

use serde_json::Value;

use super::stores::{On, on_each_store};
use super::support::Binary;

on_each_store!(
    verify_tells_what_it_compared_and_what_differs,
    explain_tells_what_counts_and_what_does_not,
    explain_tells_users_with_the_events_that_class_them,
    explain_tells_what_was_held_before_and_what_is_cut,
    explain_tells_what_is_of_another_day_or_waits,
    explain_needs_a_field_that_there_is,
);

const NOW: [&str; 2] = ["--now", "2026-02-05T12:00:00Z"];
const SERVICE: &str = "3f2b8c1e-7d54-4f0a-9a55-0d6f1f8f7a10";

fn at(binary: &Binary, args: &[&str]) -> String {
    told(binary, &binary.ok(&[NOW.as_slice(), args].concat()))
}

/// Without what differs from one run to the next: segments' names, and the test's own directory.
fn told(binary: &Binary, text: &str) -> String {
    let own = fs::canonicalize(binary.path("")).unwrap();
    let text = text.replace(&format!("{}/", own.display()), "").replace(&format!("{}/", binary.path("").display()), "");
    let mut parts: Vec<&str> = text.split(".parquet").collect();
    let last = parts.pop().unwrap();
    let named = parts.into_iter().map(|part| [&part[..part.len() - 32], "SEGMENT"].concat());
    named.collect::<String>() + last
}

fn with_tiny(on: On) -> Binary {
    let binary = Binary::new(on);
    fs::write(binary.path("events.ndjson"), include_str!("../golden/tiny/events.ndjson")).unwrap();
    at(&binary, &["ingest", "events.ndjson"]);
    binary
}

fn explain(binary: &Binary, field: &str, period: &str, more: &[&str]) -> String {
    let asked = ["explain", "--service", SERVICE, "--field", field, "--period", period];
    at(binary, &[asked.as_slice(), more].concat())
}

fn event(id: &str, time: &str, event_type: &str, data: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"{event_type}","subject":"{SERVICE}","time":"{time}","data":{{{data}}}}}"#
    )
}

fn with_events(binary: Binary, events: &[String]) -> Binary {
    fs::write(binary.path("events.ndjson"), events.join("\n")).unwrap();
    at(&binary, &["ingest", "events.ndjson"]);
    binary
}

fn verify_tells_what_it_compared_and_what_differs(on: On) {
    let binary = with_tiny(on);
    insta::assert_snapshot!(at(&binary, &["verify"]), @r"
    Compared with the event log: 1 segments with 18 lines, 2 services with 14 rows, 1 inputs
    Everything is as the event log has it.
    ");
    insta::assert_snapshot!(at(&binary, &["verify", "--json", "--service", SERVICE]), @r#"{"clean":true,"repaired":null,"verified":{"checked":{"bareLines":0,"inputs":0,"lines":0,"rows":9,"segments":0,"services":1},"differences":{"more":0,"named":[]},"pending":{"days":0,"services":0},"unreadable":{}}}"#);
    let folder = binary.path("data/events/mixed");
    let segment = fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&segment).unwrap();
    fs::write(&segment, &whole[..whole.len() - 1]).unwrap();
    fs::write(binary.path("data/events/stray"), "").unwrap();
    for args in [["verify", "--from", "2026-01-01"].as_slice(), &["verify", "--repair"], &["verify", "--json"]] {
        let output = binary.run(&[NOW.as_slice(), args].concat());
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let text = told(&binary, &String::from_utf8(output.stdout).unwrap());
        let text = text.replace(&whole.len().to_string(), "LENGTH");
        // A file need not be the same, to the byte, in each run.
        let plain: Vec<&str> =
            text.lines().filter(|line| !line.contains(": hash: ") && !line.contains(": bytes: ")).collect();
        match args {
            [_, "--from", _] => insta::assert_snapshot!(plain.join("\n"), @r"
            Compared with the event log: 1 segments with 0 lines, 2 services with 14 rows, 0 inputs
              UTC days of 2026-01-30 to 2026-02-04 can't be recomputed, and were taken as they are: it has not the LENGTH bytes that the catalog says
              DIFFERS: segment mixed/SEGMENT: content: expected what was written, found it has not the LENGTH bytes that the catalog says
            3 differences.
            "),
            [_, "--repair"] => insta::assert_snapshot!(plain.join("\n"), @r"
            Repaired: facts of 0 services, rows of 0, 0 inputs, 0 voids; 1 files moved aside, 0 rows written. Then verified:
            Compared with the event log: 1 segments with 0 lines, 2 services with 14 rows, 1 inputs
              UTC days of 2026-01-30 to 2026-02-04 can't be recomputed, and were taken as they are: it has not the LENGTH bytes that the catalog says
              DIFFERS: segment mixed/SEGMENT: content: expected what was written, found it has not the LENGTH bytes that the catalog says
              LEFT: a segment is damaged or missing: restore its file from a backup, or read its inputs again into a new data directory; until then the days in it stay as they were rolled up last, and no facts are made anew
            3 differences.
            "),
            _ => {
                let json: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(json["clean"], false);
                let named = json["verified"]["differences"]["named"].as_array().unwrap();
                let fields: Vec<&str> = named.iter().map(|named| named["field"].as_str().unwrap()).collect();
                assert_eq!(fields, ["bytes", "hash", "content"]);
                assert!(named.iter().all(|named| named["kind"] == "segment" && named["path"] == "mixed/SEGMENT"));
            }
        }
    }
    let told = binary.fails(2, &["verify", "--from", "2026-02-02", "--to", "2026-02-01"]);
    assert!(told.contains("--to 2026-02-01 lies before --from 2026-02-02"), "{told}");
}

fn explain_tells_what_counts_and_what_does_not(on: On) {
    let binary = with_tiny(on);
    insta::assert_snapshot!(explain(&binary, "TotalMessageCount", "2026-02-01", &[]), @r"
    total_message_count of service 3f2b8c1e7d544f0a9a550d6f1f8f7a10, Daily 2026-02-01: 1

              +1  2026-02-01T04:30:00Z message.sent  /messaging/eu1 sent-1  events.ndjson line 5 (mixed/SEGMENT row 5)
               1  sum

    Not counted:
      2026-02-01T04:30:00Z message.sent  /messaging/eu1 sent-1  events.ndjson line 18 (mixed/SEGMENT row 6): a duplicate of events.ndjson line 5 (mixed/SEGMENT row 5)

    Row as stored: 1 (settling, revision 1, computed 2026-02-05T12:00:00Z)
    ");
    insta::assert_snapshot!(explain(&binary, "event_count", "2026-02-20", &["--period-type", "monthly", "--limit", "2"]), @r"
    event_count of service 3f2b8c1e7d544f0a9a550d6f1f8f7a10, Monthly 2026-02-01: 8

              +1  2026-02-01T04:30:00Z message.sent  /messaging/eu1 sent-1  events.ndjson line 5 (mixed/SEGMENT row 5)
              +1  2026-02-01T10:00:00Z user.registered of user 00000002000040008000000000000000  /messaging/eu1 e7  events.ndjson line 7 (mixed/SEGMENT row 7)
              +6  6 more, beyond --limit
               8  sum

    Not counted:
      2026-02-01T04:30:00Z message.sent  /messaging/eu1 sent-1  events.ndjson line 18 (mixed/SEGMENT row 6): a duplicate of events.ndjson line 5 (mixed/SEGMENT row 5)
      2026-02-03T09:00:00Z message.sent  /messaging/eu1 mistake  events.ndjson line 14 (mixed/SEGMENT row 15): voided by 2026-02-04T09:00:00Z event.voided  /messaging/eu1 e15  events.ndjson line 15 (mixed/SEGMENT row 17)

    Row as stored: 8 (open, revision 1, computed 2026-02-05T12:00:00Z)
    ");
    let json = explain(&binary, "total_attachment_count", "2026-02-01", &["--format", "json"]);
    insta::assert_snapshot!(json, @r#"{"service":"3f2b8c1e7d544f0a9a550d6f1f8f7a10","periodType":"Daily","period":"2026-02-01","field":"total_attachment_count","through":"2026-02-01","events":[{"contribution":2,"time":"2026-02-01T04:30:00Z","type":"message.sent","source":"/messaging/eu1","id":"sent-1","place":{"segment":"mixed/SEGMENT","row":5,"inputId":1,"input":"events.ndjson","line":5}}],"users":[],"more":{"count":0,"contribution":0},"sum":2,"cut":0,"number":2,"notCounted":[{"reason":"duplicate","of":{"segment":"mixed/SEGMENT","row":5,"inputId":1,"input":"events.ndjson","line":5},"time":"2026-02-01T04:30:00Z","type":"message.sent","source":"/messaging/eu1","id":"sent-1","place":{"segment":"mixed/SEGMENT","row":6,"inputId":1,"input":"events.ndjson","line":18}}],"moreNotCounted":0,"pending":[],"row":{"number":2,"state":"settling","revision":1,"computedAt":"2026-02-05T12:00:00Z"},"remark":null}"#);
}

fn explain_tells_users_with_the_events_that_class_them(on: On) {
    let binary = with_tiny(on);
    insta::assert_snapshot!(explain(&binary, "total_user_count", "2026-02-02", &[]), @r"
    total_user_count of service 3f2b8c1e7d544f0a9a550d6f1f8f7a10, Daily 2026-02-02: 2

              +1  user 00000001000040008000000000000000: disabled
                  exists since: 2026-01-30T09:00:00Z user.invited of user 00000001000040008000000000000000  /messaging/eu1 e2  events.ndjson line 2 (mixed/SEGMENT row 1)
                  registered: 2026-01-30T23:59:59.999999999Z user.registered of user 00000001000040008000000000000000  /messaging/eu1 e3  events.ndjson line 3 (mixed/SEGMENT row 2)
                  group Professional: 2026-01-30T09:00:00Z user.invited of user 00000001000040008000000000000000  /messaging/eu1 e2  events.ndjson line 2 (mixed/SEGMENT row 1)
                  disabled or enabled: 2026-02-02T10:00:00Z user.disabled of user 00000001000040008000000000000000  /messaging/eu1 b  events.ndjson line 8 (mixed/SEGMENT row 9)
              +1  user 00000002000040008000000000000000: guest
                  exists since: 2026-01-31T10:00:00Z user.invited of user 00000002000040008000000000000000  /messaging/eu1 e4  events.ndjson line 4 (mixed/SEGMENT row 3)
                  registered: 2026-02-01T10:00:00Z user.registered of user 00000002000040008000000000000000  /messaging/eu1 e7  events.ndjson line 7 (mixed/SEGMENT row 7)
                  group Guest: 2026-01-31T10:00:00Z user.invited of user 00000002000040008000000000000000  /messaging/eu1 e4  events.ndjson line 4 (mixed/SEGMENT row 3)
               2  sum

    Row as stored: 2 (settling, revision 1, computed 2026-02-05T12:00:00Z)
    ");
    let json: Value =
        serde_json::from_str(&explain(&binary, "DisabledUserCount", "2026-02-02", &["--format", "json"])).unwrap();
    assert_eq!((&json["number"], json["users"].as_array().unwrap().len()), (&1.into(), 1));
    assert_eq!(json["users"][0]["disabledOrEnabled"]["type"], "user.disabled");
}

fn explain_tells_what_was_held_before_and_what_is_cut(on: On) {
    let size = |bytes: u64| format!(r#""attachmentGuid":"{SERVICE}","sizeBytes":{bytes}"#);
    let sent =
        |bytes| format!(r#""messageGuid":"{SERVICE}","userGuid":"{SERVICE}","attachments":[{{{}}}]"#, size(bytes));
    let events = [
        event("a", "2026-01-03T10:00:00Z", "message.sent", &sent(5)),
        event("b", "2026-01-30T10:00:00Z", "message.sent", &sent(6)),
        event("c", "2026-02-01T10:00:00Z", "attachment.purged", &size(1)),
        event("d", "2026-02-02T10:00:00Z", "attachment.purged", &size(12)),
        event("d", "2026-02-02T11:00:00Z", "attachment.purged", &size(99)),
    ];
    let binary = with_events(Binary::new(on), &events);
    insta::assert_snapshot!(explain(&binary, "attachment_storage_usage", "2026-02-02", &[]), @r"
    attachment_storage_usage of service 3f2b8c1e7d544f0a9a550d6f1f8f7a10, Daily 2026-02-02: 0

             +11  2 events of 2026-01 before the period
              -1  1 events of 2026-02 before the period
             -12  2026-02-02T10:00:00Z attachment.purged  /s d  events.ndjson line 4 (mixed/SEGMENT row 3)
              -2  sum
              +2  below zero: shown as 0

    Not counted:
      2026-02-02T11:00:00Z attachment.purged  /s d  events.ndjson line 5 (mixed/SEGMENT row 4): conflicts with 2026-02-02T10:00:00Z attachment.purged  /s d  events.ndjson line 4 (mixed/SEGMENT row 3)

    Row as stored: 0 (settling, revision 1, computed 2026-02-05T12:00:00Z)
    ");
    let all: Value =
        serde_json::from_str(&explain(&binary, "AttachmentStorageUsage", "2026-02-02", &["--all", "--format", "json"]))
            .unwrap();
    let listed: Vec<i64> =
        all["events"].as_array().unwrap().iter().map(|of| of["contribution"].as_i64().unwrap()).collect();
    assert_eq!((listed, &all["sum"], &all["cut"]), (vec![5, 6, -1, -12], &(-2).into(), &2.into()));
}

fn explain_tells_what_is_of_another_day_or_waits(on: On) {
    let used = |id, time| event(id, time, "feature.used", r#""feature":"SecureForms""#);
    let events = [
        used("late on the day before", "2026-02-02T04:59:59Z"),
        used("first", "2026-02-02T05:00:00Z"),
        used("tomorrow", "2026-02-06T10:00:00Z"),
    ];
    let binary = with_events(Binary::new(on).with("USAGE_ROLLUP__REPORTING__TIMEZONE", "America/New_York"), &events);
    insta::assert_snapshot!(explain(&binary, "feature_usage_secure_forms", "2026-02-02", &[]), @r"
    feature_usage_secure_forms of service 3f2b8c1e7d544f0a9a550d6f1f8f7a10, Daily 2026-02-02: 1

              +1  2026-02-02T05:00:00Z feature.used  /s first  events.ndjson line 2 (mixed/SEGMENT row 1)
               1  sum

    Not counted:
      2026-02-02T04:59:59Z feature.used  /s late on the day before  events.ndjson line 1 (mixed/SEGMENT row 0): of another day in the reporting time zone: 2026-02-01

    Row as stored: 1 (settling, revision 1, computed 2026-02-05T12:00:00Z)
    ");
    insta::assert_snapshot!(explain(&binary, "feature_usage_secure_forms", "2026-02-28", &["--period-type", "monthly"]), @r"
    feature_usage_secure_forms of service 3f2b8c1e7d544f0a9a550d6f1f8f7a10, Monthly 2026-02-01: 2

              +1  2026-02-02T04:59:59Z feature.used  /s late on the day before  events.ndjson line 1 (mixed/SEGMENT row 0)
              +1  2026-02-02T05:00:00Z feature.used  /s first  events.ndjson line 2 (mixed/SEGMENT row 1)
               2  sum

    Not counted:
      2026-02-06T10:00:00Z feature.used  /s tomorrow  events.ndjson line 3 (mixed/SEGMENT row 2): after today: 2026-02-06

    Row as stored: 2 (open, revision 1, computed 2026-02-05T12:00:00Z)
    ");
    // Rows that were drawn yesterday do not reach today.
    let asked = ["explain", "--service", SERVICE, "--field", "event_count", "--period", "2026-02-06"];
    insta::assert_snapshot!(told(&binary, &binary.ok(&[["--now", "2026-02-06T12:00:00Z"].as_slice(), &asked].concat())), @r"
    event_count of service 3f2b8c1e7d544f0a9a550d6f1f8f7a10, Daily 2026-02-06: 1

              +1  2026-02-06T10:00:00Z feature.used  /s tomorrow  events.ndjson line 3 (mixed/SEGMENT row 2)
               1  sum

    Row as stored: none
    rows reach no further than 2026-02-05; run `usage-rollup rollup`
    ");
}

fn explain_needs_a_field_that_there_is(on: On) {
    let binary = with_tiny(on);
    let asked = ["explain", "--service", SERVICE, "--period", "2026-02-02", "--field", "messages"];
    let told = binary.fails(2, &asked);
    assert!(told.contains("'messages' is not a field; expected one of total_user_count, pro_user_count,"), "{told}");
    insta::assert_snapshot!(explain(&binary, "event_count", "2020-01-01", &[]), @r"
    event_count of service 3f2b8c1e7d544f0a9a550d6f1f8f7a10, Daily 2020-01-01: 0

               0  sum

    Row as stored: none
    there is no row: the period lies before the service's first event that counts, or after today
    ");
}
