//! Drawing a service's rows: what they must be, held against what they are.

use std::collections::HashMap;
use std::time::Duration;

use crate::model::{Day, Gauges, Instant, PeriodType, RowState, Zone};
use crate::rollup::{DraftRow, draft_rows};
use crate::store::{RowFate, ServiceRows, ServiceToDraw, StoredRow};

/// What holds for all services.
pub(super) struct DrawRules {
    today: Day,
    now: Instant,
    settle_after: i64,
    /// The first instant after each period.
    ends: HashMap<(PeriodType, Day), Instant>,
}

impl DrawRules {
    pub fn new(zone: Zone, settle_after: Duration, first: Day, today: Day, now: Instant) -> Self {
        let periods = first.month().through(today).flat_map(|day| {
            [PeriodType::Daily, PeriodType::Monthly].map(|period_type| (period_type, period_type.period_of(day)))
        });
        let mut ends = HashMap::new();
        for (period_type, period) in periods {
            ends.entry((period_type, period)).or_insert_with(|| zone.start_of(period_type.after(period)));
        }
        Self { today, now, settle_after: i64::try_from(settle_after.as_secs()).unwrap_or(i64::MAX), ends }
    }
}

pub(super) fn draw(service: &ServiceToDraw, rules: &DrawRules) -> ServiceRows {
    let drafts = match service.first_day {
        Some(first_day) => draft_rows(first_day, service.from, rules.today, service.opening, &service.months),
        None => Vec::new(),
    };
    let fated = drafts.into_iter().filter_map(|draft| {
        let stored = service.rows.get(&(draft.period_type, draft.period));
        fate(&draft, stored, rules).map(|fate| (draft, fate))
    });
    let mut held = service.opening;
    let closings = service.months.iter().map(|(month, facts)| {
        held = held.plus(&facts.change());
        (*month, held)
    });
    let closings: Vec<(Day, Gauges)> = closings.collect();
    ServiceRows {
        service: service.service,
        first_day: service.first_day,
        begins_later: service.rows_from.is_some_and(|from| service.first_day.is_none_or(|first| from < first)),
        through: rules.today,
        rows: fated.collect(),
        closings,
    }
}

/// The revision and state of a row that must be written; none where the stored one says it all (`spec/usage.md`: a revision
/// grows only when one of the 13 numbers changes, a digest alone is updated in place).
fn fate(draft: &DraftRow, stored: Option<&StoredRow>, rules: &DrawRules) -> Option<RowFate> {
    let end = rules.ends.get(&(draft.period_type, draft.period)).copied().unwrap_or(rules.now);
    let Some(stored) = stored else {
        let closes_at = end.max(rules.now).plus_seconds(rules.settle_after);
        return Some(RowFate { revision: 1, state: unsettled(end, closes_at, rules.now), closes_at });
    };
    let fate = RowFate { revision: stored.revision, state: stored.state, closes_at: stored.closes_at };
    if stored.numbers != draft.numbers {
        let was_final = matches!(stored.state, RowState::Closed | RowState::Restated);
        let state = if was_final { RowState::Restated } else { unsettled(end, stored.closes_at, rules.now) };
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
