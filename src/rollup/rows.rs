//! From facts to rows: dense, gauges carried forward (`spec/usage.md`, Which rows exist).

use std::collections::BTreeMap;

use super::facts::DayFacts;
use super::spans::{SpanFacts, SpanStart};
use crate::model::{Day, FEATURES, Gauges, IdentityHash, Numbers, PeriodType, USER_CLASSES};

/// A row as the facts have it, before it is compared with the one that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DraftRow {
    pub period_type: PeriodType,
    pub period: Day,
    pub numbers: Numbers,
    pub event_count: i64,
    pub input_digest: IdentityHash,
    pub clamped: bool,
}

impl DraftRow {
    /// A row that nothing counts on.
    #[must_use]
    pub fn empty(period_type: PeriodType, period: Day) -> Self {
        draft(period_type, period, &DayFacts::default(), &Gauges::default())
    }
}

/// Drafts a service's daily rows from `from` through `through`, and the monthly ones of the months that these days lie in,
/// as of `today`.
///
/// `spans` holds the service's facts from `start` on, which lies no later than `from`; `opening` is what was held when that
/// span began. No row lies before `first_day`. A month's row holds all its days so far, also those before `from`.
#[must_use]
pub fn draft_rows(
    first_day: Day,
    from: Day,
    through: Day,
    today: Day,
    start: &SpanStart,
    opening: Gauges,
    spans: &BTreeMap<Day, SpanFacts>,
) -> Vec<DraftRow> {
    let drawn = from.max(first_day)..=through.min(today);
    let mut rows = Vec::new();
    let mut held = opening;
    let mut parts = spans.range(start.span..).flat_map(|(_, facts)| facts.days()).peekable();
    let mut moves = spans.range(start.span..).flat_map(|(_, facts)| facts.moves()).peekable();
    let (mut first, mut of_month) = (start.span, start.month);
    while first <= *drawn.end() {
        let next_month = first.next_month();
        let last = next_month.previous().min(today);
        for day in first.through(last) {
            let mut of_day = DayFacts::default();
            // A day may lie in two partitions.
            while let Some(part) = parts.next_if(|part| part.day == day) {
                of_day += &part.facts;
            }
            of_month += &of_day;
            let users = moves.next_if(|(of, _)| *of == day).map_or([0; USER_CLASSES], |(_, users)| *users);
            held = held.plus(&Gauges { users, storage: of_day.storage });
            if drawn.contains(&day) {
                rows.push(draft(PeriodType::Daily, day, &of_day, &held));
            }
        }
        if last >= *drawn.start() {
            rows.push(draft(PeriodType::Monthly, last.month(), &of_month, &held));
        }
        (first, of_month) = (next_month, DayFacts::default());
    }
    rows
}

fn draft(period_type: PeriodType, period: Day, facts: &DayFacts, held: &Gauges) -> DraftRow {
    let mut clamped = false;
    let mut shown = |exact: Option<i128>| {
        // More than 2^127 is as far beyond 63 bits as any.
        let exact = exact.unwrap_or(i128::MAX);
        clamped |= !(0..=i128::from(i64::MAX)).contains(&exact);
        i64::try_from(exact.max(0)).unwrap_or(i64::MAX)
    };
    let [pro, guest, disabled, unregistered] = held.users.map(|count| shown(Some(count.into())));
    let total = shown(Some(held.users.iter().map(|count| i128::from(*count)).sum()));
    let features: [i64; FEATURES] = facts.features.map(|sum| shown(i128::try_from(sum).ok()));
    let messages = shown(Some(facts.messages.into()));
    let attachments = shown(Some(facts.attachments.into()));
    let storage = shown(Some(held.storage));
    let [gateway, plus, leaks, files, forms] = features;
    DraftRow {
        period_type,
        period,
        numbers: Numbers([
            total,
            pro,
            guest,
            disabled,
            unregistered,
            gateway,
            plus,
            leaks,
            files,
            forms,
            messages,
            attachments,
            storage,
        ]),
        event_count: facts.events.cast_signed(),
        input_digest: facts.digest,
        clamped,
    }
}
