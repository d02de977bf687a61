//! Per-user numbers (`spec/usage.md`): the engine against a naive reading of the specification, on random events.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tokio::runtime::Runtime;
use usage_rollup::audit::user_usage::UserUsage;
use usage_rollup::jobs;
use usage_rollup::model::{GroupType, Instant, PeriodType, parse_guid};

use super::laws::{Delivery, config, events_and_delivery, file};
use super::oracle::counted_events;
use super::oracle_json::Json;
use super::oracle_line::{Event, instant};
use super::random_events;
use super::stores::{On, on_each_store};
use super::support::Engine;

on_each_store!(numbers_of_users_are_those_of_the_oracle,);

const MARCH: &str = "2026-03-01";

fn items<'e>(event: &'e Event, member: &str) -> Vec<&'e str> {
    let Json::Object(members) = &event.data else { return Vec::new() };
    let list = members.iter().find(|(name, _)| name == member).map(|(_, value)| value);
    let Some(Json::Array(items)) = list else { return Vec::new() };
    items.iter().filter_map(|item| if let Json::Text(text) = item { Some(text.as_str()) } else { None }).collect()
}

fn is(event: &Event, member: &str, user: &str) -> bool {
    event.data.text(member) == Some(user)
}

fn names(event: &Event, user: &str) -> bool {
    let by_member = ["userGuid", "invitedByUserGuid"].iter().any(|member| is(event, member, user));
    by_member || items(event, "recipientUserGuids").contains(&user)
}

fn last<'e>(events: &[&'e Event], wanted: impl Fn(&Event) -> bool) -> Option<&'e Event> {
    events.iter().rev().find(|event| wanted(event)).copied()
}

fn shown(event: Option<&Event>) -> Option<String> {
    event.map(|event| event.time.to_rfc3339_opts(SecondsFormat::Nanos, true))
}

/// One user of one service, from its events up to the end of the period, which are also told apart from those of the period.
fn of_oracle(user: &str, so_far: &[&Event], of_period: &[&Event]) -> Vec<String> {
    let kind = |kind: &'static str| move |event: &Event| event.kind == kind && is(event, "userGuid", user);
    let sent: Vec<&&Event> = of_period.iter().filter(|event| kind("message.sent")(event)).collect();
    let sizes: Vec<i128> = sent.iter().flat_map(|event| event.data.attachment_sizes()).collect();
    let received = of_period.iter().filter(|event| items(event, "recipientUserGuids").contains(&user)).count();
    let invited = of_period.iter().filter(|event| event.kind == "user.invited" && is(event, "invitedByUserGuid", user));
    let mut accepted = 0;
    for (at, event) in so_far.iter().enumerate().filter(|(_, event)| event.kind == "user.registered") {
        let of_same = |other: &&&Event| other.data.text("userGuid") == event.data.text("userGuid");
        let before: Vec<&Event> = so_far[..at].iter().filter(of_same).copied().collect();
        let is_first = !before.iter().any(|before| before.kind == "user.registered");
        let invitation = last(&before, |before| before.kind == "user.invited");
        let by_user = invitation.is_some_and(|invitation| is(invitation, "invitedByUserGuid", user));
        accepted +=
            i64::from(is_first && by_user && of_period.iter().any(|of_period| std::ptr::eq(*of_period, *event)));
    }
    let exists =
        ["user.invited", "user.registered", "user.groupChanged", "user.disabled", "user.enabled", "user.updated"];
    let first = |kinds: &[&str]| {
        so_far.iter().find(|event| kinds.contains(&event.kind.as_str()) && is(event, "userGuid", user)).copied()
    };
    let told = |member: &'static str| {
        let of_user = last(so_far, |event| is(event, "userGuid", user) && event.data.text(member).is_some());
        of_user.and_then(|event| event.data.text(member)).map(str::to_owned)
    };
    let by_or_against = |event: &Event| kind("user.disabled")(event) || kind("user.enabled")(event);
    let group = told("groupType").or_else(|| first(&exists).map(|_| "Guest".to_owned()));
    let last_invited = last(so_far, kind("user.invited"));
    let last_grouped = last(so_far, |event| kind("user.invited")(event) || kind("user.groupChanged")(event));
    let of = |event: Option<&Event>, member: &str| event.and_then(|event| event.data.text(member)).map(str::to_owned);
    let values: Vec<Option<String>> = vec![
        told("emailAddress"),
        told("firstName"),
        told("lastName"),
        Some(last(so_far, by_or_against).is_some_and(|event| event.kind == "user.disabled").to_string()),
        shown(first(&exists)),
        shown(first(&["user.registered"])),
        shown(last(so_far, kind("user.loggedIn"))),
        of(last_grouped, "groupName"),
        group,
        of(last_grouped, "groupGuid"),
        Some(sent.len().to_string()),
        Some(received.to_string()),
        Some(sizes.len().to_string()),
        Some(sizes.iter().sum::<i128>().min(i64::MAX.into()).to_string()),
        Some(invited.count().to_string()),
        Some(accepted.to_string()),
        told("toolbarVersion"),
        of(last_invited, "invitedByEmailAddress"),
        shown(last(so_far, kind("message.sent"))),
        shown(last(so_far, kind("message.retrieved"))),
        shown(last(so_far, |event| names(event, user))),
        Some(of_period.iter().any(|event| names(event, user)).to_string()),
    ];
    values.into_iter().map(|value| value.unwrap_or_else(|| "-".to_owned())).collect()
}

fn of_engine(user: &UserUsage) -> Vec<String> {
    let time = |time: Option<Instant>| time.map(|time| time.to_utc().to_rfc3339_opts(SecondsFormat::Nanos, true));
    let values = vec![
        user.email_address.clone(),
        user.first_name.clone(),
        user.last_name.clone(),
        Some(user.is_disabled.to_string()),
        time(user.created_on),
        time(user.registered_on),
        time(user.last_login),
        user.group_name.clone(),
        user.group().map(GroupType::name).map(str::to_owned),
        user.group_guid.map(|guid| guid.simple().to_string()),
        Some(user.messages_sent.to_string()),
        Some(user.messages_received.to_string()),
        Some(user.attachments.to_string()),
        Some(user.attachments_size.to_string()),
        Some(user.invitations_sent.to_string()),
        Some(user.invitations_accepted.to_string()),
        user.last_toolbar_version.clone(),
        user.invited_by_email_address.clone(),
        time(user.last_message_sent),
        time(user.last_message_retrieved),
        time(user.last_activity),
        Some(user.is_active.to_string()),
    ];
    values.into_iter().map(|value| value.unwrap_or_else(|| "-".to_owned())).collect()
}

fn oracle(
    events: &[Event],
    zone: chrono_tz::Tz,
    (first, after): (NaiveDate, NaiveDate),
) -> BTreeMap<String, Vec<String>> {
    let day = |event: &Event| event.time.with_timezone(&zone).date_naive();
    let so_far: Vec<&Event> = events.iter().filter(|event| day(event) < after).collect();
    let of_period: Vec<&Event> = so_far.iter().filter(|event| day(event) >= first).copied().collect();
    let users = so_far.iter().flat_map(|event| {
        let members = ["userGuid", "invitedByUserGuid"].into_iter().filter_map(|member| event.data.text(member));
        members.chain(items(event, "recipientUserGuids"))
    });
    let users: BTreeSet<&str> = users.collect();
    users.into_iter().map(|user| (user.to_owned(), of_oracle(user, &so_far, &of_period))).collect()
}

fn numbers_of_users_are_those_of_the_oracle(on: On) {
    let runtime = Runtime::new().unwrap();
    let compared = Cell::new(0);
    TestRunner::new(config(on))
        .run(&events_and_delivery(), |(lines, delivery)| {
            let now: DateTime<Utc> = instant(random_events::NOW).unwrap();
            let delivered: Vec<Vec<u8>> = delivery.runs.iter().flatten().map(|numbers| file(&lines, numbers)).collect();
            let files: Vec<&[u8]> = delivered.iter().map(Vec::as_slice).collect();
            let events = counted_events(&files, now);
            let services: BTreeSet<&String> = events.iter().map(|event| &event.service).collect();
            runtime.block_on(async {
                let engine = Engine::new(on, random_events::NOW, &delivery.settings()).await;
                // It keeps what it has read: after each run some more is there.
                let reading = engine.reading();
                for run in &delivery.runs {
                    engine.ingest(&run.iter().map(|numbers| file(&lines, numbers)).collect::<Vec<_>>()).await;
                    for service in &services {
                        let guid = parse_guid(service).unwrap();
                        let asked = jobs::user_usage(&reading, guid, PeriodType::Monthly, MARCH.parse().unwrap());
                        asked.await.unwrap();
                    }
                }
                let Delivery { zone, .. } = delivery;
                for service in services {
                    let of_service: Vec<Event> =
                        events.iter().filter(|event| event.service == *service).cloned().collect();
                    for (period_type, first, after) in [
                        (PeriodType::Daily, "2026-02-28", "2026-03-01"),
                        (PeriodType::Daily, "2026-03-08", "2026-03-09"),
                        (PeriodType::Monthly, MARCH, "2026-04-01"),
                    ] {
                        let [first_day, after] = [first, after].map(|day| day.parse::<NaiveDate>().unwrap());
                        let expected = oracle(&of_service, zone, (first_day, after));
                        let (guid, period) = (parse_guid(service).unwrap(), first.parse().unwrap());
                        let users = jobs::user_usage(&reading, guid, period_type, period).await.unwrap();
                        let found: BTreeMap<String, Vec<String>> =
                            users.iter().map(|(user, usage)| (user.simple().to_string(), of_engine(usage))).collect();
                        compared.set(compared.get() + found.len());
                        prop_assert_eq!(found, expected, "{} {} {}", service, period_type.name(), first);
                    }
                }
                Ok(())
            })
        })
        .unwrap();
    assert!(compared.get() > 0 || on == On::Postgres);
}
