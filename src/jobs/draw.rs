//! Drawing a service's rows: what they must be, held against what they are.

use std::collections::HashMap;
use std::time::Duration;

use foldhash::fast::FixedState;

use crate::model::{Day, Instant, PeriodType, RowState, Zone};
use crate::rollup::{DraftRow, MonthFacts, draft_rows};
use crate::store::{RowFate, ServiceRows, ServiceToDraw, StoredRow};

/// What holds for all services.
pub(super) struct DrawRules {
    today: Day,
    now: Instant,
    settle_after: i64,
    /// The first instant after each period.
    ends: HashMap<(PeriodType, Day), Instant, FixedState>,
}

impl DrawRules {
    pub fn new(zone: Zone, settle_after: Duration, first: Day, today: Day, now: Instant) -> Self {
        let periods = first.month().through(today).flat_map(|day| {
            [PeriodType::Daily, PeriodType::Monthly].map(|period_type| (period_type, period_type.period_of(day)))
        });
        let mut ends = HashMap::default();
        for (period_type, period) in periods {
            ends.entry((period_type, period)).or_insert_with(|| zone.start_of(period_type.after(period)));
        }
        Self { today, now, settle_after: i64::try_from(settle_after.as_secs()).unwrap_or(i64::MAX), ends }
    }
}

pub(super) fn draw(service: &ServiceToDraw, rules: &DrawRules) -> ServiceRows {
    let of_months = service.months.values().map(MonthFacts::change);
    let opening = of_months.fold(service.held, |held, change| held.minus(&change));
    let drafts = match service.first_day {
        Some(first_day) => draft_rows(first_day, service.from, rules.today, opening, &service.months),
        None => Vec::new(),
    };
    let fated = drafts.into_iter().filter_map(|draft| {
        let stored = service.rows.get(&(draft.period_type, draft.period));
        fate(&draft, stored, rules).map(|fate| (draft, fate))
    });
    let mut rows: Vec<(DraftRow, RowFate)> = fated.collect();
    rows.sort_by_key(|(draft, _)| (draft.period_type, draft.period));
    ServiceRows {
        service: service.service,
        first_day: service.first_day,
        begins_later: service.rows_from.is_some_and(|from| service.first_day.is_none_or(|first| from < first)),
        rows,
    }
}

/// The revision and state of a row that must be written; none where the stored one says it all (`spec/usage.md`: a revision
/// grows only when one of the 13 numbers changes, a digest alone is updated in place).
fn fate(draft: &DraftRow, stored: Option<&StoredRow>, rules: &DrawRules) -> Option<RowFate> {
    let end = rules.ends.get(&(draft.period_type, draft.period)).copied().unwrap_or(rules.now);
    let Some(stored) = stored else {
        let closes_at = end.max(rules.now).plus_seconds(rules.settle_after);
        return Some(RowFate { revision: 1, state: unsettled(end, closes_at, rules.now), end, closes_at });
    };
    // What is stored of `open` and `settling` is as old as the last rollup.
    let state = match stored.state {
        RowState::Open | RowState::Settling => unsettled(end, stored.closes_at, rules.now),
        last => last,
    };
    let fate = RowFate { revision: stored.revision, state, end, closes_at: stored.closes_at };
    if stored.numbers != draft.numbers {
        let state = if state == RowState::Closed { RowState::Restated } else { state };
        return Some(RowFate { revision: stored.revision + 1, state, ..fate });
    }
    let rests_on = (draft.event_count, draft.input_digest, draft.clamped);
    (rests_on != (stored.event_count, stored.input_digest, stored.clamped)).then_some(fate)
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
