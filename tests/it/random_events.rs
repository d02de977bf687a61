//! Small but nasty sets of events as NDJSON lines, for property tests: identities that collide, ties,
//! instants next to midnight in UTC and in New York, voids of every kind, copies in other spellings,
//! conflicts, sums that saturate and lines that must be rejected. The rules are those of `spec/events.md`.
//! All bytes are valid UTF-8, and all instants lie from 2026-02-24 to 2026-03-10 (UTC).

use super::random_spelling::{Event, IDS, MALFORMED, SOURCES, USERS, Value, malformed, spell};
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

/// A clock for the reports: after every event, so that none is in the future and the exports stay short.
pub const NOW: &str = "2026-03-12T03:00:00Z";

/// 2026-02-24T00:00:00Z, and the number of days from then that events lie in.
const FIRST_DAY: i64 = 1_771_891_200;
const DAYS: u64 = 15;
const DAY_NANOS: u64 = 86_400_000_000_000;

/// Instants of a UTC day, in seconds, that ties and days are made of: midnight, midnight in New York in
/// winter (05:00) and in summer (04:00), the hour that New York skips (07:00), noon.
const SECONDS: [u64; 7] = [0, 4 * 3600, 5 * 3600, 7 * 3600, 12 * 3600, 12 * 3600 + 1, 86_400];

const SIZES: [u64; 6] = [0, 1, 1000, 1 << 31, (1 << 53) - 1, 1 << 53];
const FEATURES: [&str; 5] =
    ["SecureMessagingGateway", "SecureMessagingPlus", "DataLeakPrevention", "SecureLargeFiles", "SecureForms"];
const KINDS: [&str; 12] = [
    "message.sent",
    "message.retrieved",
    "attachment.purged",
    "feature.used",
    "user.invited",
    "user.registered",
    "user.groupChanged",
    "user.disabled",
    "user.enabled",
    "user.loggedIn",
    "user.updated",
    "service.updated",
];

/// What a draft becomes. Everything is a plain number, so that failures shrink well.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// An event of its own.
    Fresh,
    /// The event of another draft in other spelling.
    Copy,
    /// The identity of another draft's event, at the same instant or another one, with content that is
    /// this draft's or much like the other's.
    Retry { same_instant: bool, alike: bool },
    /// An event of the same service, user and (where the days allow it) instant as another draft's.
    Tie,
    /// A void of another draft's event, of a void, or of what was never sent.
    Void { never_seen: bool },
    /// A line that is rejected, for reasons by number.
    Malformed(u8),
    /// A blank line.
    Blank,
}

/// The numbers that one line is made from.
#[derive(Clone, Copy, Debug)]
struct Draft {
    step: Step,
    other: u8,
    identity: [u8; 3],
    day: u8,
    instant: u16,
    kind: u8,
    dice: u64,
    spelling: u64,
    arrival: u16,
}

/// What all events of one set have in common: how many of everything, and which days and types.
#[derive(Clone, Copy, Debug)]
struct Shape {
    services: u8,
    users: u8,
    sources: u8,
    ids: u8,
    days: (u64, u64),
    kinds: (usize, usize),
    /// Where an identity has one day, what it follows from.
    one_day: Option<u64>,
}

/// 0 to 60 lines in arrival order. Unless `conflicts_across_days`, all events of an identity (service,
/// source, id), voids under that identity too, lie on one UTC day; what a void aims at may lie on another.
pub fn lines(conflicts_across_days: bool) -> impl Strategy<Value = Vec<String>> {
    let pools = (1..=3u8, 1..=4u8, 1..=3u8, 1..=9u8);
    let ranges = (0..DAYS, prop_oneof![1 => Just(1), 3 => 1..=DAYS], 0..KINDS.len(), 4..=KINDS.len(), any::<u64>());
    let shape = (pools, ranges).prop_map(move |((services, users, sources, ids), ranges)| {
        let (first_day, days, first_kind, kinds, seed) = ranges;
        let one_day = Some(seed).filter(|_| !conflicts_across_days);
        let (days, kinds) = ((first_day, days), (first_kind, kinds));
        Shape { services, users, sources, ids, days, kinds, one_day }
    });
    (shape, prop::collection::vec(draft(), 0..60)).prop_map(|(shape, drafts)| spell_all(shape, drafts))
}

fn draft() -> impl Strategy<Value = Draft> {
    let step = prop_oneof![
        200 => Just(Step::Fresh),
        60 => Just(Step::Copy),
        60 => any::<[bool; 2]>().prop_map(|[same_instant, alike]| Step::Retry { same_instant, alike }),
        60 => Just(Step::Tie),
        80 => prop::bool::weighted(0.2).prop_map(|never_seen| Step::Void { never_seen }),
        30 => (0..MALFORMED).prop_map(Step::Malformed),
        1 => Just(Step::Malformed(MALFORMED)),
        10 => Just(Step::Blank),
    ];
    let numbers = (any::<u8>(), any::<[u8; 3]>(), any::<u8>(), any::<u16>(), any::<u8>());
    (step, numbers, any::<u64>(), any::<u64>(), any::<u16>()).prop_map(
        |(step, (other, identity, day, instant, kind), dice, spelling, arrival)| Draft {
            step,
            other,
            identity,
            day,
            instant,
            kind,
            dice,
            spelling,
            arrival,
        },
    )
}

fn spell_all(shape: Shape, drafts: Vec<Draft>) -> Vec<String> {
    let mut events: Vec<(Draft, Event)> = Vec::new();
    let mut spelled: Vec<(u16, String)> = Vec::new();
    for mut draft in drafts {
        let [service, source, id] = draft.identity;
        draft.identity = [service % shape.services, source % shape.sources, id % shape.ids];
        let earlier = events.get(usize::from(draft.other) % events.len().max(1));
        let event = match (draft.step, earlier) {
            (Step::Copy, Some((_, earlier))) => earlier.clone(),
            (Step::Retry { same_instant, alike }, Some((first, earlier))) => {
                draft.identity = earlier.identity;
                if alike {
                    let byte = 0xff << (draft.kind % 6 * 8);
                    (draft.kind, draft.dice) = (first.kind, first.dice & !byte | draft.dice & byte);
                }
                let event = fresh(&draft, shape);
                let time = match same_instant {
                    true => earlier.time,
                    false if shape.one_day.is_none() && draft.day < 64 => week_later(earlier.time, draft.instant),
                    false => event.time,
                };
                Event { time, ..event }
            }
            (Step::Tie, Some((first, earlier))) => tie(&mut draft, first, earlier, shape),
            (Step::Void { never_seen }, earlier) => {
                let earlier = earlier.filter(|_| !never_seen).map(|(_, event)| event.clone());
                void(draft, earlier, shape)
            }
            _ => fresh(&draft, shape),
        };
        let line = spell(&event, draft.spelling);
        let line = match draft.step {
            Step::Blank => [" \t", "", "\r"][usize::from(draft.kind) % 3].to_owned(),
            Step::Malformed(reason) => malformed(reason, &line),
            _ => {
                events.push((draft, event));
                line
            }
        };
        spelled.push((draft.arrival, line));
    }
    spelled.sort_by_key(|(arrival, _)| *arrival);
    spelled.into_iter().map(|(_, line)| line).collect()
}

/// An event that meets the other one of its service, user and instant under another identity.
fn tie(draft: &mut Draft, first: &Draft, earlier: &Event, shape: Shape) -> Event {
    draft.identity[0] = earlier.identity[0];
    draft.dice = draft.dice & !0xff | first.dice & 0xff;
    draft.kind = if draft.other > 63 { first.kind } else { draft.kind };
    let event = fresh(draft, shape);
    let may_be = shape.one_day.is_none() || event.time.date_naive() == earlier.time.date_naive();
    let time = if may_be { earlier.time } else { event.time };
    let kind = match event.kind {
        "user.disabled" => "user.enabled",
        "user.enabled" => "user.disabled",
        other => other,
    };
    Event { time, kind, ..event }
}

/// As far away as the identity window reaches, or a nanosecond less or more.
fn week_later(time: DateTime<Utc>, more: u16) -> DateTime<Utc> {
    let week = TimeDelta::seconds(7 * 86_400) + TimeDelta::nanoseconds(i64::from(more % 3) - 1);
    let half_way = DateTime::from_timestamp(FIRST_DAY + 7 * 86_400 + 1, 0).unwrap_or_default();
    if time < half_way { time + week } else { time - week }
}

/// A void of that event, or of one that was probably never sent.
fn void(mut draft: Draft, target: Option<Event>, shape: Shape) -> Event {
    let target = target.unwrap_or_else(|| {
        let identity = [draft.identity[0], 0, draft.other % shape.ids];
        fresh(&Draft { identity, instant: draft.instant >> 3, ..draft }, shape)
    });
    // A void carries its target's subject, as a rule; one with another subject never meets it.
    if !draft.dice.is_multiple_of(16) {
        draft.identity[0] = target.identity[0];
    }
    let data = vec![
        ("source", Value::Text(SOURCES[usize::from(target.identity[1])])),
        ("id", Value::Text(IDS[usize::from(target.identity[2])])),
        ("time", Value::Time(target.time)),
    ];
    Event { kind: "event.voided", data, ..fresh(&draft, shape) }
}

/// An event from a draft's numbers alone.
fn fresh(draft: &Draft, shape: Shape) -> Event {
    let [service, source, id] = draft.identity.map(u64::from);
    let own_day = |seed: u64| {
        let number = (service * 27 + source * 9 + id + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (seed ^ number).wrapping_mul(31) >> 32
    };
    let (first, days) = shape.days;
    let day = (first + shape.one_day.map_or(u64::from(draft.day), own_day) % days) % DAYS;
    let instant = u64::from(draft.instant);
    let near = SECONDS[(instant % 7) as usize] * 1_000_000_000;
    let of_day = match instant / 7 % 4 {
        0 | 1 => near,
        2 => near.wrapping_sub(1),
        _ => near + instant / 28 * 7_777_777,
    };
    // What falls off either end of the day is put back into it, so that the day is as it was drawn.
    let of_day = if of_day > DAY_NANOS { 0 } else { of_day.min(DAY_NANOS - 1) };
    let time = DateTime::from_timestamp(FIRST_DAY, 0).unwrap_or_default()
        + TimeDelta::nanoseconds((day * DAY_NANOS + of_day).cast_signed());
    let (first, kinds) = shape.kinds;
    let kind = KINDS[(first + usize::from(draft.kind) % kinds) % KINDS.len()];
    Event { identity: draft.identity, time, kind, data: data(kind, draft.dice, shape.users) }
}

/// The known members of one type, from a few digits of the dice.
fn data(kind: &str, dice: u64, users: u8) -> Vec<(&'static str, Value)> {
    let digit = |at: usize, sides: usize| usize::from(dice.to_le_bytes()[at]) % sides;
    let user = Value::Guid(USERS[digit(0, usize::from(users))].to_owned());
    let group = Value::Text(["Professional", "Guest"][digit(1, 2)]);
    let guid = |number: usize| format!("{number:032x}");
    let mut data = vec![("userGuid", user)];
    match kind {
        "message.sent" => {
            data.push(("messageGuid", Value::Guid(guid(digit(1, 3)))));
            let recipients = (0..digit(2, 3)).map(|at| Value::Guid(USERS[at].to_owned())).collect::<Vec<_>>();
            data.push(("recipientCount", Value::Plain(["null", "0", "2"][recipients.len()].to_owned())));
            data.push(("recipientUserGuids", Value::List(recipients)));
            // Rarely so many of the largest size that the sum passes 2^63.
            let (many, size) = if digit(3, 32) == 0 { (1100, 1 << 53) } else { (digit(3, 4), SIZES[digit(4, 6)]) };
            let one = |at| Value::Attachment(guid(at), size);
            let some = || Value::List((0..many).map(one).collect());
            let none = Value::Plain("null".to_owned());
            data.push(("attachments", if digit(5, 4) == 0 { none } else { some() }));
        }
        "message.retrieved" => data.push(("messageGuid", Value::Guid(guid(digit(1, 3))))),
        "attachment.purged" => {
            data[0] = ("attachmentGuid", Value::Guid(guid(digit(1, 3))));
            data.push(("sizeBytes", Value::Plain(SIZES[digit(2, 6)].to_string())));
        }
        "feature.used" => {
            data.push(("feature", Value::Text(FEATURES[digit(1, 5)])));
            let quantity = ["null", "1", "null", "1", "0", "9007199254740992"][digit(2, 6)];
            data.push(("quantity", Value::Plain(quantity.to_owned())));
            data.rotate_left(digit(3, 2)); // without a user, every other time
            data.truncate(3 - digit(3, 2));
        }
        "user.invited" => {
            data.extend([("groupType", group), ("firstName", Value::Text(["", "Ånn", "\u{1}\n"][digit(2, 3)]))]);
            data.push(("invitedByUserGuid", Value::Guid(USERS[digit(3, 4)].to_owned())));
        }
        "user.groupChanged" => data.push(("groupType", group)),
        "user.registered" if digit(2, 2) == 0 => data.push(("groupType", group)),
        "user.loggedIn" => data.push(("toolbarVersion", Value::Text(["7.1", "7.2"][digit(1, 2)]))),
        "user.updated" => data.push(("isAlias", Value::Plain(["true", "false", "null"][digit(1, 3)].to_owned()))),
        "service.updated" => data = vec![("name", Value::Text(["Søme", "Other"][digit(1, 2)]))],
        _ => {}
    }
    data
}
