//! What holds for whole plans; smaller things are tested beside their code.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::files::write_files_of;
use super::*;

fn plan(events: u64, services: u32, users: u32, days: u32) -> Plan {
    let end = NaiveDate::from_ymd_opt(2026, 3, 31).unwrap_or_default();
    Plan { events, services, users, days, seed: 7, end }
}

fn text(plan: &Plan) -> String {
    let mut bytes = Vec::new();
    write(plan, &mut bytes, &mut |_| ()).expect("the plan is possible");
    String::from_utf8(bytes).expect("lines are ASCII")
}

fn events(plan: &Plan) -> Vec<Value> {
    text(plan).lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

fn member<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
}

#[test]
fn the_same_plan_gives_the_same_bytes_and_another_seed_does_not() {
    let first = plan(20_000, 40, 900, 30);
    assert_eq!(text(&first), text(&first));
    assert_ne!(text(&first), text(&Plan { seed: 8, ..first }));
}

#[test]
fn the_bytes_for_a_seed_never_change() {
    let hash = text(&plan(5_000, 40, 900, 30))
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    assert_eq!(
        hash, 0xca03_aad1_59c9_ad53,
        "a seed gives other events than before: benchmarks made with it no longer compare"
    );
}

#[test]
fn the_number_of_lines_is_exact() {
    for events in [0, 1, 2, 3, 49, 50, 51, 150, 999, 5_000] {
        for (services, users, days) in
            [(1, 1, 1), (5_000, 1, 1), (1, 1_000, 400), (30, 10, 7), (30, 3_000, 92), (3, 3, 9_000)]
        {
            let text = text(&plan(events, services, users, days));
            assert_eq!(text.lines().count() as u64, events, "{services} services, {users} users, {days} days");
            assert!(text.is_empty() || text.ends_with('\n'));
        }
    }
}

#[test]
fn any_seed_and_the_bounds_of_the_calendar_work() {
    for seed in [0, 1, u64::MAX] {
        for (year, month, day) in [(2000, 1, 3), (9999, 12, 31), (2024, 2, 29)] {
            let end = NaiveDate::from_ymd_opt(year, month, day).expect("a date");
            let plan = Plan { seed, end, ..plan(300, 30, 100, 3) };
            assert_eq!(text(&plan).lines().count(), 300);
        }
    }
}

#[test]
fn every_line_is_an_event_within_the_days() {
    for plan in [plan(20_000, 50, 2_000, 30), plan(3_000, 3, 40, 1)] {
        let first = plan.end - Days::new(u64::from(plan.days) - 1);
        let (from, to) = (format!("{first}T00:00:00.000Z"), format!("{}T23:59:59.999Z", plan.end));
        for event in events(&plan) {
            assert_eq!(member(&event, "specversion"), "1.0");
            assert_eq!(member(&event, "id").len(), 36);
            assert!(member(&event, "source").starts_with("/messaging/"));
            assert_eq!(member(&event, "subject").len(), 36);
            assert!(event["data"].is_object());
            let time = member(&event, "time");
            assert!(time.len() == 24 && from.as_str() <= time && time <= to.as_str(), "{time}");
        }
    }
}

#[test]
fn about_one_line_in_a_hundred_is_a_redelivery_and_no_id_is_used_twice() {
    let text = text(&plan(30_000, 50, 2_000, 30));
    let distinct: HashSet<&str> = text.lines().collect();
    let ids: HashSet<&str> = distinct.iter().map(|line| &line[26..70]).collect();
    assert_eq!(ids.len(), distinct.len());
    let copies = 30_000 - distinct.len();
    assert!((150..=600).contains(&copies), "{copies}");
}

#[test]
fn lines_are_mostly_in_order_and_some_are_late() {
    let events = events(&plan(30_000, 50, 2_000, 30));
    let mut latest = "";
    let behind = events.iter().filter(|event| {
        let time = member(event, "time");
        latest = latest.max(time);
        time < latest
    });
    // One percent copies and half a percent late ones.
    let behind = behind.count();
    assert!((300..=650).contains(&behind), "{behind}");
}

#[test]
fn types_have_their_shares() {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for event in events(&plan(100_000, 100, 5_000, 60)) {
        *counts.entry(member(&event, "type").to_owned()).or_default() += 1;
    }
    for (kind, per_mille) in [
        ("message.sent", 470..530),
        ("message.retrieved", 220..270),
        ("feature.used", 110..130),
        ("user.loggedIn", 55..65),
        ("attachment.purged", 25..32),
        ("user.invited", 8..25),
        ("user.registered", 8..25),
    ] {
        assert!(per_mille.contains(&(counts[kind] / 100)), "{kind}: {}", counts[kind]);
    }
    for kind in
        ["user.groupChanged", "user.updated", "user.disabled", "user.enabled", "service.updated", "event.voided"]
    {
        assert!(counts[kind] > 10, "{kind}: {}", counts[kind]);
    }
    assert_eq!(counts.len(), 13);
}

#[test]
fn every_service_starts_with_its_entry_and_does_something() {
    let mut events = events(&plan(500, 200, 1_000, 30));
    events.sort_by_key(|event| member(event, "time").to_owned());
    let mut seen: HashMap<String, u32> = HashMap::new();
    let mut statuses = HashSet::new();
    for event in &events {
        let count = seen.entry(member(event, "subject").to_owned()).or_default();
        if *count == 0 {
            assert_eq!(member(event, "type"), "service.updated");
            statuses.insert(member(&event["data"], "status"));
        }
        *count += 1;
    }
    assert_eq!(seen.len(), 200);
    assert!(seen.values().all(|count| *count > 1));
    assert!(statuses.contains("Blocked") && statuses.contains("Provisioning") && statuses.contains("TrialActive"));
}

#[test]
fn effects_follow_their_causes() {
    let mut events = events(&plan(60_000, 20, 600, 20));
    events.sort_by_key(|event| member(event, "time").to_owned());
    let (mut messages, mut stored, mut users, mut ids) =
        (HashSet::new(), HashMap::new(), HashSet::new(), HashSet::new());
    for event in &events {
        let data = &event["data"];
        match member(event, "type") {
            "message.sent" => {
                messages.insert(member(data, "messageGuid"));
                assert!(users.contains(member(data, "userGuid")));
                for attachment in data["attachments"].as_array().into_iter().flatten() {
                    stored.insert(member(attachment, "attachmentGuid"), attachment["sizeBytes"].as_u64());
                }
            }
            "message.retrieved" => assert!(messages.contains(member(data, "messageGuid"))),
            "attachment.purged" => {
                assert_eq!(stored[member(data, "attachmentGuid")], data["sizeBytes"].as_u64());
            }
            "user.registered" => drop(users.insert(member(data, "userGuid"))),
            "user.loggedIn" | "user.disabled" | "user.enabled" | "user.groupChanged" => {
                assert!(users.contains(member(data, "userGuid")));
            }
            "event.voided" => {
                let target =
                    (member(event, "subject"), member(data, "source"), member(data, "id"), member(data, "time"));
                assert!(ids.contains(&target));
            }
            _ => (),
        }
        ids.insert((member(event, "subject"), member(event, "source"), member(event, "id"), member(event, "time")));
    }
}

#[test]
fn impossible_plans_are_refused() {
    let end = |year| NaiveDate::from_ymd_opt(year, 1, 1).expect("a date");
    for (plan, word) in [
        (plan(1, 0, 1, 1), "services"),
        (plan(1, 1, 0, 1), "users"),
        (plan(1, 1, 1, 0), "days"),
        (plan(1, 1_000_001, 1, 1), "services"),
        (plan(1, 1, 1, u32::MAX), "days"),
        (Plan { end: end(1999), ..plan(1, 1, 1, 1) }, "1999"),
        (Plan { end: end(10_000), ..plan(1, 1, 1, 1) }, "10000"),
    ] {
        let error = write(&plan, &mut Vec::new(), &mut |_| ()).expect_err("impossible");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn files_hold_the_same_lines_and_are_not_overwritten() {
    let dir = std::env::temp_dir().join(format!("generate-test-{}", std::process::id()));
    let plan = plan(2_500, 10, 100, 10);
    let mut last = 0;
    let paths = write_files_of(&plan, &dir, 1_000, &mut |lines| last = lines).expect("files");
    let again = write_files_of(&plan, &dir, 1_000, &mut |_| ()).expect_err("the files exist");
    let texts: Vec<String> = paths.iter().map(|path| std::fs::read_to_string(path).expect("a file")).collect();
    let names = std::fs::read_dir(&dir).expect("the directory").count();
    std::fs::remove_dir_all(&dir).expect("removed");
    assert_eq!(last, 2_500);
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    assert_eq!(paths[2].file_name().and_then(|name| name.to_str()), Some("events-0003.ndjson"));
    assert_eq!((paths.len(), names), (3, 3));
    assert_eq!(texts.iter().map(|text| text.lines().count()).collect::<Vec<_>>(), [1_000, 1_000, 500]);
    assert_eq!(texts.concat(), text(&plan));
}
