//! From facts to rows: dense, gauges carried forward (`spec/usage.md`, Which rows exist).

use std::collections::BTreeMap;

use super::facts::DayFacts;
use super::months::MonthFacts;
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

/// Drafts a service's daily rows from `from` through `today`, and the monthly ones of the months that these days lie in.
///
/// `months` holds the service's facts from the month of `from` on, by the month's first day; `opening` is what was held when
/// that month began. No row lies before `first_day`. A month's row holds all its days so far, also those before `from`.
#[must_use]
pub fn draft_rows(
    first_day: Day,
    from: Day,
    today: Day,
    opening: Gauges,
    months: &BTreeMap<Day, MonthFacts>,
) -> Vec<DraftRow> {
    let from = from.max(first_day);
    let mut rows = Vec::new();
    let mut held = opening;
    let mut month = from.month();
    let none = MonthFacts::default();
    while month <= today {
        let facts = months.get(&month).unwrap_or(&none);
        let last = month.next_month().previous().min(today);
        let mut of_month = DayFacts::default();
        let (mut parts, mut moves) = (facts.days().iter().peekable(), facts.moves().iter().peekable());
        for day in month.through(last) {
            let mut of_day = DayFacts::default();
            // A day may lie in two partitions.
            while let Some(part) = parts.next_if(|part| part.day == day) {
                of_day += &part.facts;
            }
            of_month += &of_day;
            let users = moves.next_if(|(of, _)| *of == day).map_or([0; USER_CLASSES], |(_, users)| *users);
            held = held.plus(&Gauges { users, storage: of_day.storage });
            if day >= from {
                rows.push(draft(PeriodType::Daily, day, &of_day, &held));
            }
        }
        rows.push(draft(PeriodType::Monthly, month, &of_month, &held));
        month = month.next_month();
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
