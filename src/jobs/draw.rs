//! Drawing a service's rows: what they must be. The store holds that against what they are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use foldhash::fast::FixedState;

use crate::model::{Day, Instant, PeriodType, RowState, Zone};
use crate::rollup::{DraftRow, SpanFacts, SpanStart, draft_rows};
use crate::store::{RowFate, ServiceRows, ServiceToDraw};

/// What holds for all services.
pub(super) struct DrawRules {
    pub today: Day,
    now: Instant,
    settle_after: i64,
    /// The first instant after each period.
    ends: HashMap<(PeriodType, Day), Instant, FixedState>,
}

impl DrawRules {
    pub fn new(zone: Zone, settle_after: Duration, first: Day, today: Day, now: Instant) -> Self {
        let mut ends = HashMap::default();
        for (period_type, period) in first.month().through(today).flat_map(periods_of) {
            ends.entry((period_type, period)).or_insert_with(|| zone.start_of(period_type.after(period)));
        }
        Self { today, now, settle_after: i64::try_from(settle_after.as_secs()).unwrap_or(i64::MAX), ends }
    }

    /// What a row begins with that lies within these days.
    pub fn fate(&self, draft: &DraftRow, is_new: bool) -> RowFate {
        let end = self.ends.get(&(draft.period_type, draft.period)).copied().unwrap_or(self.now);
        let closes_at = end.max(self.now).plus_seconds(self.settle_after);
        RowFate { is_new, state: unsettled(end, closes_at, self.now), end, closes_at }
    }
}

/// `spans` holds the service's facts from `start` on, which lies no later than the day that it is drawn from.
pub(super) fn draw(
    service: &ServiceToDraw,
    start: &SpanStart,
    spans: &BTreeMap<Day, SpanFacts>,
    rules: &DrawRules,
) -> ServiceRows {
    let of_spans = spans.range(start.span..).map(|(_, span)| span.change());
    let opening = of_spans.fold(service.totals.held, |held, change| held.minus(&change));
    let drafts = match service.totals.first_day {
        Some(first_day) => draft_rows(first_day, service.from, service.through, rules.today, start, opening, spans),
        None => Vec::new(),
    };
    // The days and the months that have rows.
    let stored = service.stored.map(|(from, through)| [from..=through, from.month()..=through.month()]);
    let is_new = |draft: &DraftRow| {
        stored.as_ref().is_none_or(|[days, months]| {
            let periods = if draft.period_type == PeriodType::Daily { days } else { months };
            !periods.contains(&draft.period)
        })
    };
    let rows = drafts.into_iter().map(|draft| (draft, rules.fate(&draft, is_new(&draft)))).collect();
    ServiceRows { service: service.service, stored: service.stored, reason: service.reason, gone: gone(service), rows }
}

/// The stored rows that lie before a service's first day: all, where nothing counts any more.
fn gone(service: &ServiceToDraw) -> Vec<(PeriodType, Day)> {
    let Some((from, through)) = service.stored else { return Vec::new() };
    let through = service.totals.first_day.map_or(through, |first| through.min(first.previous()));
    let is_gone = |(period_type, period): &(PeriodType, Day)| {
        service.totals.first_day.is_none_or(|first| *period < period_type.period_of(first))
    };
    let periods = from.through(through).flat_map(periods_of).filter(is_gone);
    periods.collect::<BTreeSet<_>>().into_iter().collect()
}

fn periods_of(day: Day) -> [(PeriodType, Day); 2] {
    [PeriodType::Daily, PeriodType::Monthly].map(|period_type| (period_type, period_type.period_of(day)))
}

fn unsettled(end: Instant, closes_at: Instant, now: Instant) -> RowState {
    if now < end {
        RowState::Open
    } else if now < closes_at {
        RowState::Settling
    } else {
        RowState::Closed
    }
}
