//! The whole pipeline as a naive model: every line of every file, straight to the rows that
//! `export --format csv` prints. It follows `spec/events.md` and `spec/usage.md` sentence by sentence,
//! recomputes everything from the start for every day, and shares no code with the engine.

use super::oracle_line::{Event, instant, read};
use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The header of the CSV export (cli.md).
pub const HEADER: &str = "ServiceGuid,PeriodType,Period,TotalUserCount,ProUserCount,GuestUserCount,DisabledUserCount,UnregisteredUserCount,FeatureUsageSecureMessagingGateway,FeatureUsageSecureMessagingPlus,FeatureUsageDataLeakPrevention,FeatureUsageSecureLargeFiles,FeatureUsageSecureForms,TotalMessageCount,TotalAttachmentCount,AttachmentStorageUsage";

const FEATURES: [&str; 5] =
    ["SecureMessagingGateway", "SecureMessagingPlus", "DataLeakPrevention", "SecureLargeFiles", "SecureForms"];

/// `ingest.identity_window`, inclusive (events.md, "Identity, order, day").
const IDENTITY_WINDOW: TimeDelta = TimeDelta::seconds(7 * 86_400);

/// `ingest.max_future` (events.md, "Envelope").
const MAX_FUTURE: TimeDelta = TimeDelta::hours(24);

/// Where each line ended (events.md, "What happens to each input line").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    pub lines: u64,
    pub stored: u64,
    pub duplicate: u64,
    pub rejected: u64,
    pub voided: u64,
    pub conflicting: u64,
    pub rejected_by_reason: BTreeMap<String, u64>,
}

/// The ledger, and both exports from each service's first event through today.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub ledger: Ledger,
    pub daily_csv: String,
    pub monthly_csv: String,
}

/// One row: four user classes, then the counters in their order, then storage.
struct Row {
    users: [u64; 4],
    counters: [i128; 7],
    storage: i128,
}

/// What these files give, in the reporting time zone and at the instant given.
#[must_use]
pub fn usage(files: &[&[u8]], zone: Tz, now: DateTime<Utc>) -> Outcome {
    let mut ledger = Ledger::default();
    let stored = stored(files, now, &mut ledger);
    let counted = counted(&stored, &mut ledger);
    let (daily_csv, monthly_csv) = exports(&counted, zone, now.with_timezone(&zone).date_naive());
    Outcome { ledger, daily_csv, monthly_csv }
}

/// The events of these files that count, but for those of the directory, in event order.
#[must_use]
pub fn counted_events(files: &[&[u8]], now: DateTime<Utc>) -> Vec<Event> {
    let mut ledger = Ledger::default();
    let stored = stored(files, now, &mut ledger);
    counted(&stored, &mut ledger).into_iter().cloned().collect()
}

/// The events of these files, each once.
fn stored(files: &[&[u8]], now: DateTime<Utc>, ledger: &mut Ledger) -> Vec<Event> {
    let earliest = instant("2000-01-01T00:00:00Z").unwrap_or(DateTime::UNIX_EPOCH);
    let mut stored: BTreeMap<String, Event> = BTreeMap::new();
    for line in files.iter().flat_map(|file| lines(file)) {
        ledger.lines += 1;
        match read(line, earliest, now + MAX_FUTURE) {
            Err(reason) => {
                ledger.rejected += 1;
                *ledger.rejected_by_reason.entry(reason.to_owned()).or_default() += 1;
            }
            Ok(event) => {
                let copy_of = stored.insert(whole(&event), event);
                ledger.duplicate += u64::from(copy_of.is_some());
            }
        }
    }
    let stored: Vec<Event> = stored.into_values().collect();
    ledger.stored = stored.len() as u64;
    stored
}

/// The rows of an export whose period is in the inclusive range, under the header.
#[must_use]
pub fn cut(csv: &str, from: &str, to: &str) -> String {
    let inside = |row: &str| row.split(',').nth(2).is_some_and(|period| from <= period && period <= to);
    let kept = csv.lines().enumerate().filter(|(at, row)| *at == 0 || inside(row));
    kept.fold(String::new(), |text, (_, row)| text + row + "\n")
}

/// The lines of a file that are not blank, without the byte order mark at its start.
fn lines(file: &[u8]) -> Vec<&[u8]> {
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    let lines = file.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.filter(|line| !line.iter().all(|b| b" \t\r".contains(b))).collect()
}

/// Everything that two copies of one event have in common, as text.
fn whole(event: &Event) -> String {
    format!("{:?} {:?} {}", identity(event), event.time, content(event))
}

fn identity(event: &Event) -> (&str, &str, &str) {
    (&event.service, &event.source, &event.id)
}

/// The type, then the known members in canonical form (events.md, "Content"). No type is the start of
/// another followed by `{`, so the text orders as the pair does.
fn content(event: &Event) -> String {
    format!("{}{}", event.kind, event.data.canonical())
}

fn is_void(event: &Event) -> bool {
    event.kind == "event.voided"
}

/// The stored events that are neither voided nor in conflict, and neither voids nor service updates, in
/// event order (events.md, "Identity, order, day").
fn counted<'a>(stored: &'a [Event], ledger: &mut Ledger) -> Vec<&'a Event> {
    let mut targets: BTreeSet<(&str, &str, &str, DateTime<Utc>)> = BTreeSet::new();
    for void in stored.iter().filter(|event| is_void(event)) {
        let (source, id) = (void.data.text("source"), void.data.text("id"));
        let time = void.data.text("time").and_then(instant);
        if let (Some(source), Some(id), Some(time)) = (source, id, time) {
            targets.insert((&void.service, source, id, time));
        }
    }
    let voided = |event: &Event| {
        let (service, source, id) = identity(event);
        !is_void(event) && targets.contains(&(service, source, id, event.time))
    };
    let mut of_identity: BTreeMap<_, Vec<&Event>> = BTreeMap::new();
    for event in stored.iter().filter(|event| !is_void(event) && !voided(event)) {
        of_identity.entry(identity(event)).or_default().push(event);
    }
    let conflicting = |event: &Event| {
        let others = of_identity.get(&identity(event)).map_or(&[][..], Vec::as_slice);
        others.iter().any(|other| {
            let before = (other.time, content(other)) < (event.time, content(event));
            before && event.time - other.time <= IDENTITY_WINDOW
        })
    };
    let mut counted = Vec::new();
    for event in stored {
        if voided(event) {
            ledger.voided += 1;
        } else if conflicting(event) {
            ledger.conflicting += 1;
        } else if !is_void(event) && event.kind != "service.updated" {
            counted.push(event);
        }
    }
    counted.sort_by_key(|event| (event.time, &event.source, &event.id));
    counted
}

/// The daily and the monthly export (usage.md, "Which rows exist"; cli.md, `export --format csv`).
fn exports(counted: &[&Event], zone: Tz, today: NaiveDate) -> (String, String) {
    let mut services: BTreeMap<&str, Vec<(NaiveDate, &Event)>> = BTreeMap::new();
    for event in counted {
        let day = event.time.with_timezone(&zone).date_naive();
        services.entry(&event.service).or_default().push((day, event));
    }
    let (mut daily, mut monthly) = (format!("{HEADER}\n"), format!("{HEADER}\n"));
    for (service, events) in &services {
        let mut months: BTreeMap<NaiveDate, Row> = BTreeMap::new();
        let first = events.iter().map(|(day, _)| *day).min().unwrap_or(today);
        for day in first.iter_days().take_while(|day| *day <= today) {
            let row = day_row(events, day);
            let _ = writeln!(daily, "{service},Daily,{day},{}", numbers(&row));
            let month = day.with_day(1).unwrap_or(day);
            let before = months.get(&month).map_or([0; 7], |before| before.counters);
            let counters = std::array::from_fn(|at| before[at] + row.counters[at]);
            months.insert(month, Row { counters, ..row });
        }
        for (month, row) in &months {
            let _ = writeln!(monthly, "{service},Monthly,{month},{}", numbers(row));
        }
    }
    (daily, monthly)
}

/// usage.md, "Columns": sums are in 128 bits, stored saturated at 2^63 - 1, and negative storage shows as 0.
fn numbers(row: &Row) -> String {
    let total: u64 = row.users.iter().sum();
    let users = std::iter::once(total).chain(row.users).map(i128::from);
    let shown = users.chain(row.counters).chain([row.storage]);
    shown.map(|number| number.clamp(0, i128::from(i64::MAX)).to_string()).collect::<Vec<_>>().join(",")
}

/// One service's row for one day, from all of its counted events in event order.
fn day_row(events: &[(NaiveDate, &Event)], day: NaiveDate) -> Row {
    let mut row = Row { users: [0; 4], counters: [0; 7], storage: 0 };
    for (at, event) in events.iter().filter(|(at, _)| *at <= day) {
        let today = i128::from(*at == day);
        match event.kind.as_str() {
            "feature.used" => {
                let quantity = event.data.integer("quantity").unwrap_or(1);
                for (counter, name) in row.counters.iter_mut().zip(FEATURES) {
                    let this = event.data.text("feature") == Some(name);
                    *counter += if this { today * quantity } else { 0 };
                }
            }
            "message.sent" => {
                let sizes = event.data.attachment_sizes();
                row.counters[5] += today;
                row.counters[6] += today * sizes.len() as i128;
                row.storage += sizes.iter().sum::<i128>();
            }
            "attachment.purged" => row.storage -= event.data.integer("sizeBytes").unwrap_or(0),
            _ => {}
        }
    }
    let users =
        events.iter().filter(|(_, event)| makes_exist(event)).filter_map(|(_, event)| event.data.text("userGuid"));
    for user in users.collect::<BTreeSet<_>>() {
        let so_far = events.iter().filter(|(at, event)| *at <= day && event.data.text("userGuid") == Some(user));
        if let Some(class) = class_of(&so_far.map(|(_, event)| *event).collect::<Vec<_>>()) {
            row.users[class] += 1;
        }
    }
    row
}

fn makes_exist(event: &Event) -> bool {
    let kinds =
        ["user.invited", "user.registered", "user.groupChanged", "user.disabled", "user.enabled", "user.updated"];
    kinds.contains(&event.kind.as_str())
}

/// A user's one class from the events that name it, in event order (usage.md, "A user exists from …"):
/// 0 pro, 1 guest, 2 disabled, 3 unregistered, in the order of the columns; none while it does not exist.
fn class_of(events: &[&Event]) -> Option<usize> {
    let last_of = |kinds: &[&str]| events.iter().rev().find(|event| kinds.contains(&event.kind.as_str()));
    events.iter().find(|event| makes_exist(event))?;
    if last_of(&["user.disabled", "user.enabled"]).is_some_and(|event| event.kind == "user.disabled") {
        return Some(2);
    }
    if last_of(&["user.registered"]).is_none() {
        return Some(3);
    }
    let tells_group = ["user.invited", "user.registered", "user.groupChanged"];
    let groups = events.iter().filter(|event| tells_group.contains(&event.kind.as_str()));
    let last_group = groups.filter_map(|event| event.data.text("groupType")).next_back();
    Some(usize::from(last_group != Some("Professional")))
}
