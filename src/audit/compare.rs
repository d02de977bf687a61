//! Holding a service's facts and rows against what the event log comes to.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use uuid::Uuid;

use super::fresh::Facts;
use super::{Difference, Subject};
use crate::model::{Day, Gauges, Numbers, PeriodType, USER_CLASSES, UsageRow};
use crate::rollup::{DayFacts, DraftRow, ServiceDay, SpanFacts, SpanStart, UserDay, UserHistory, draft_rows};
use crate::store::{PendingRow, ServiceFix, StoredProgress, StoredState};

/// Which days are asked for, and which one is today.
#[derive(Clone, Debug)]
pub struct Within {
    pub from: Option<Day>,
    pub to: Option<Day>,
    pub today: Day,
    pub held_back: Arc<HeldBack>,
}

/// What is kept from rows because their months are locked: such a row is right as it is.
#[derive(Debug, Default)]
pub struct HeldBack(HashMap<(Uuid, PeriodType, Day), Option<DraftRow>>);

impl FromIterator<PendingRow> for HeldBack {
    fn from_iter<I: IntoIterator<Item = PendingRow>>(rows: I) -> Self {
        let row = |row: PendingRow| {
            let draft = row.draft;
            ((row.service, draft.period_type, draft.period), (!row.is_gone).then_some(draft))
        };
        Self(rows.into_iter().map(row).collect())
    }
}

impl HeldBack {
    fn holds(&self, key: (Uuid, PeriodType, Day), draft: Option<&DraftRow>) -> bool {
        self.0.get(&key).is_some_and(|pending| pending.as_ref() == draft)
    }
}

/// How a service's facts and rows were found to be.
#[derive(Debug)]
pub struct Compared {
    pub differences: Vec<Difference>,
    /// Whether any of them is of facts, so that drawing rows anew is not enough.
    pub facts_differ: bool,
    /// What it takes to draw the rows anew.
    pub fix: ServiceFix,
    /// Rows that no drawing touches, and that should not be there.
    pub gone: Vec<(PeriodType, Day)>,
    /// Whether rows wait to be drawn.
    pub is_pending: bool,
    pub rows: u64,
}

const CLASSES: [&str; USER_CLASSES] = ["pro", "guest", "disabled", "unregistered"];

impl Within {
    fn holds(&self, day: Day) -> bool {
        self.from.is_none_or(|from| from <= day) && self.to.is_none_or(|to| day <= to)
    }

    fn holds_period(&self, period_type: PeriodType, period: Day) -> bool {
        let period_of = |day: Day| period_type.period_of(day);
        self.from.is_none_or(|from| period_of(from) <= period) && self.to.is_none_or(|to| period <= period_of(to))
    }
}

/// Holds what is stored of a service against what the event log comes to.
#[must_use]
pub fn compare(service: Uuid, fresh: &Facts, stored: &StoredState, within: &Within) -> Compared {
    let mut comparing = Comparing { service, within, found: Vec::new() };
    comparing.spans(&fresh.spans, &stored.spans);
    comparing.users(&fresh.users, &stored.users);
    let progress = comparing.progress(fresh, stored);
    let facts_differ = !comparing.found.is_empty();
    let rows = comparing.rows(fresh, stored, &progress);
    let first = fresh.totals.first_day.into_iter().chain(rows.bounds.map(|(first, _)| first)).min();
    let from = if facts_differ { first } else { rows.first_wrong.or(first) };
    let fix = ServiceFix { service, from: from.unwrap_or(within.today).min(within.today), rows: rows.bounds };
    Compared {
        differences: comparing.found,
        facts_differ,
        fix,
        gone: rows.gone,
        is_pending: progress.dirty_from.is_some()
            || fresh.totals.first_day.is_some_and(|first| {
                first <= within.today && progress.rows_through.is_none_or(|through| through < within.today)
            }),
        rows: stored.rows.len() as u64,
    }
}

struct Comparing<'a> {
    service: Uuid,
    within: &'a Within,
    found: Vec<Difference>,
}

/// How a service's rows were found to be.
struct Rows {
    /// The first and the last day that have one.
    bounds: Option<(Day, Day)>,
    first_wrong: Option<Day>,
    gone: Vec<(PeriodType, Day)>,
}

impl Comparing<'_> {
    fn push(
        &mut self,
        subject: &Subject,
        field: &str,
        expected: &dyn std::fmt::Display,
        found: &dyn std::fmt::Display,
    ) {
        self.found.push(Difference::new(subject, field, expected, found));
    }

    /// Names those of the fields that are not the same. What one side lacks is nothing there.
    fn fields(&mut self, subject: &Subject, expected: &BTreeMap<String, String>, found: &BTreeMap<String, String>) {
        let nothing = "0".to_owned();
        for field in expected.keys().chain(found.keys()).collect::<BTreeSet<_>>() {
            let (expected, found) = (expected.get(field).unwrap_or(&nothing), found.get(field).unwrap_or(&nothing));
            if expected != found {
                self.push(subject, field, expected, found);
            }
        }
    }

    fn spans(&mut self, fresh: &BTreeMap<Day, SpanFacts>, stored: &BTreeMap<Day, Result<SpanFacts, String>>) {
        let none = SpanFacts::default();
        for span in fresh.keys().chain(stored.keys()).copied().collect::<BTreeSet<Day>>() {
            let expected = fresh.get(&span).unwrap_or(&none);
            match stored.get(&span).unwrap_or(&Ok(SpanFacts::default())) {
                Ok(found) if found == expected => {}
                Ok(found) => self.span(span, expected, found),
                Err(problem) => {
                    self.push(&Subject::Span { service: self.service, span }, "facts", &"facts", problem);
                }
            }
        }
    }

    fn span(&mut self, span: Day, expected: &SpanFacts, found: &SpanFacts) {
        let service = self.service;
        let before = self.found.len();
        let by_day = |facts: &SpanFacts| -> BTreeMap<(Day, Day), BTreeMap<String, String>> {
            facts.days().iter().map(|day| ((day.day, day.partition), day_fields(day))).collect()
        };
        let (of_log, of_store, none) = (by_day(expected), by_day(found), BTreeMap::new());
        for key in of_log.keys().chain(of_store.keys()).copied().collect::<BTreeSet<_>>() {
            let subject = Subject::DayFacts { service, day: key.0, utc_day: key.1 };
            if self.within.holds(key.0) {
                self.fields(&subject, of_log.get(&key).unwrap_or(&none), of_store.get(&key).unwrap_or(&none));
            }
        }
        let by_day = |facts: &SpanFacts| -> BTreeMap<Day, BTreeMap<String, String>> {
            facts.moves().iter().map(|(day, moves)| (*day, class_fields(moves))).collect()
        };
        let (of_log, of_store) = (by_day(expected), by_day(found));
        for day in of_log.keys().chain(of_store.keys()).copied().collect::<BTreeSet<_>>() {
            if self.within.holds(day) {
                let (expected, found) = (of_log.get(&day).unwrap_or(&none), of_store.get(&day).unwrap_or(&none));
                self.fields(&Subject::Moves { service, day }, expected, found);
            }
        }
        // What no field tells, such as the order of days.
        let is_whole = self.within.from.is_none() && self.within.to.is_none();
        if is_whole && self.found.len() == before {
            self.push(&Subject::Span { service, span }, "facts", &format!("{expected:?}"), &format!("{found:?}"));
        }
    }

    fn users(&mut self, fresh: &BTreeMap<Uuid, UserHistory>, stored: &BTreeMap<Uuid, Result<UserHistory, String>>) {
        let service = self.service;
        for user in fresh.keys().chain(stored.keys()).copied().collect::<BTreeSet<Uuid>>() {
            let subject = Subject::User { service, user };
            let none = UserHistory::default();
            let expected = fresh.get(&user).unwrap_or(&none);
            let found = match stored.get(&user) {
                None => &none,
                Some(Ok(found)) => found,
                Some(Err(problem)) => {
                    self.push(&subject, "history", &"a history", problem);
                    continue;
                }
            };
            if found == expected {
                continue;
            }
            let of = |history: &UserHistory| -> BTreeMap<String, String> {
                let days = history.days().iter().filter(|day| self.within.holds(day.day));
                days.map(|day| (format!("{} of UTC day {}", day.day, day.partition), changes(day))).collect()
            };
            let (of_log, of_store) = (of(expected), of(found));
            self.fields(&subject, &of_log, &of_store);
        }
    }

    /// What is kept of the service as a whole. Where that is lost or can't be read, rows are taken to be as far drawn as they
    /// reach.
    fn progress(&mut self, fresh: &Facts, stored: &StoredState) -> StoredProgress {
        let subject = Subject::Service { service: self.service };
        let (rows_from, rows_through) = stored.daily_rows().unzip();
        let lost = StoredProgress { rows_from, rows_through, ..StoredProgress::default() };
        let progress = match &stored.progress {
            None => lost,
            Some(Ok(progress)) => *progress,
            Some(Err(problem)) => {
                self.push(&subject, "totals", &"totals", problem);
                return lost;
            }
        };
        if progress.first_day != fresh.totals.first_day {
            self.push(&subject, "first day", &shown(fresh.totals.first_day), &shown(progress.first_day));
        }
        let of = |held: &Gauges| {
            let mut fields = class_fields(&held.users);
            fields.insert("bytes held".to_owned(), held.storage.to_string());
            fields
        };
        self.fields(&subject, &of(&fresh.totals.held), &of(&progress.held));
        // Where it is not known, rollup does without.
        if let Some(found) = progress.newest.filter(|found| Some(*found) != fresh.totals.newest) {
            let expected = fresh.totals.newest;
            self.push(&subject, "newest span", &shown(expected.map(|newest| newest.span)), &shown(Some(found.span)));
            let expected = expected.map_or_else(BTreeMap::new, |newest| facts_fields(&newest.month));
            self.fields(&subject, &expected, &facts_fields(&found.month));
        }
        progress
    }

    /// Rows must be those that the facts make, as far as they are drawn.
    fn rows(&mut self, fresh: &Facts, stored: &StoredState, progress: &StoredProgress) -> Rows {
        let subject = Subject::Service { service: self.service };
        let bounds = stored.daily_rows();
        let mut rows = Rows { bounds, first_wrong: None, gone: Vec::new() };
        // A number that is damaged must not have rows drawn until the end of time.
        let last = bounds.map_or(self.within.today, |(_, last)| last.max(self.within.today));
        let through = progress.rows_through.filter(|through| *through <= last);
        if progress.rows_through != through && progress.dirty_from.is_none() {
            self.push(&subject, "rows through", &shown(bounds.map(|(_, last)| last)), &shown(progress.rows_through));
        }
        let mut expected = drafts(fresh, through);
        let first_row = fresh.totals.first_day.filter(|first| through.is_some_and(|through| *first <= through));
        if progress.dirty_from.is_none() && progress.rows_through == through && progress.rows_from != first_row {
            self.push(&subject, "rows from", &shown(first_row), &shown(progress.rows_from));
        }
        let is_drawn = |period_type: PeriodType, period: Day| {
            progress.dirty_from.is_none_or(|from| from > period_type.after(period).previous())
        };
        for row in &stored.rows {
            let row = match row {
                Ok(row) => row,
                Err(problem) => {
                    self.push(&subject, "a row", &"a row", problem);
                    rows.first_wrong = fresh.totals.first_day;
                    continue;
                }
            };
            let (period_type, period) = (row.period_type, row.period);
            let of_log = expected.remove(&(period_type, period));
            if !self.within.holds_period(period_type, period) || !is_drawn(period_type, period) {
                continue;
            }
            if self.within.held_back.holds((self.service, period_type, period), of_log.as_ref()) {
                continue;
            }
            let subject = Subject::Row { service: self.service, period_type, period };
            let before = self.found.len();
            if let Some(draft) = of_log {
                if !is_same(&draft, row) {
                    self.fields(&subject, &draft_fields(&draft), &row_fields(row));
                }
            } else {
                self.push(&subject, "row", &"none", &format!("revision {}", row.revision));
                let drawn = fresh.totals.first_day.is_some_and(|first| period_type.period_of(first) <= period);
                if !drawn || period > self.within.today || period != period_type.period_of(period) {
                    rows.gone.push((period_type, period));
                }
            }
            if self.found.len() > before {
                rows.first_wrong = Some(rows.first_wrong.map_or(period, |first| first.min(period)));
            }
        }
        for ((period_type, period), draft) in expected {
            let is_held_back = self.within.held_back.holds((self.service, period_type, period), Some(&draft));
            if self.within.holds_period(period_type, period) && is_drawn(period_type, period) && !is_held_back {
                let subject = Subject::Row { service: self.service, period_type, period };
                self.push(&subject, "row", &"a row", &"none");
                rows.first_wrong = Some(rows.first_wrong.map_or(period, |first| first.min(period)));
            }
        }
        rows
    }
}

fn shown(day: Option<Day>) -> String {
    day.map_or_else(|| "none".to_owned(), |day| day.to_string())
}

/// The rows that facts make, through this day.
fn drafts(fresh: &Facts, through: Option<Day>) -> BTreeMap<(PeriodType, Day), DraftRow> {
    let Some((first, through)) = fresh.totals.first_day.zip(through) else { return BTreeMap::new() };
    let start = SpanStart::of_month(first.month());
    let opening = fresh.spans.range(..start.span).fold(Gauges::default(), |held, (_, span)| held.plus(&span.change()));
    let rows = draft_rows(first, first, through, through, &start, opening, &fresh.spans);
    rows.into_iter().map(|row| ((row.period_type, row.period), row)).collect()
}

fn day_fields(day: &ServiceDay) -> BTreeMap<String, String> {
    let mut fields = facts_fields(&day.facts);
    for (input, lines) in &day.uncounted {
        let mut add =
            |kind: &str, lines: u64| _ = fields.insert(format!("{kind} lines of input {input}"), lines.to_string());
        add("duplicate", lines.duplicate);
        add("voided", lines.voided);
        add("conflicting", lines.conflicting);
    }
    fields
}

fn facts_fields(facts: &DayFacts) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let mut add = |field: &str, number: String| _ = fields.insert(field.to_owned(), number);
    add("event_count", facts.events.to_string());
    add("input_digest", if facts.digest.0 == 0 { "0".to_owned() } else { format!("{:032x}", facts.digest.0) });
    add("messages", facts.messages.to_string());
    add("attachments", facts.attachments.to_string());
    for (column, sum) in Numbers::COLUMNS[5..10].iter().zip(facts.features) {
        add(column, sum.to_string());
    }
    add("bytes", facts.storage.to_string());
    fields
}

fn class_fields(users: &[i64; USER_CLASSES]) -> BTreeMap<String, String> {
    CLASSES.iter().zip(users).map(|(class, users)| (format!("{class} users"), users.to_string())).collect()
}

fn changes(day: &UserDay) -> String {
    let mut told = vec!["exists"];
    told.extend(day.registered.then_some("registered"));
    told.extend(day.professional.map(|professional| if professional { "professional" } else { "guest" }));
    told.extend(day.disabled.map(|disabled| if disabled { "disabled" } else { "enabled" }));
    told.join(", ")
}

fn is_same(draft: &DraftRow, row: &UsageRow) -> bool {
    (draft.numbers, draft.event_count, draft.input_digest, draft.clamped)
        == (row.numbers, row.event_count, row.input_digest, row.clamped)
}

fn draft_fields(row: &DraftRow) -> BTreeMap<String, String> {
    fields_of(&row.numbers, row.event_count, row.input_digest.0, row.clamped)
}

fn row_fields(row: &UsageRow) -> BTreeMap<String, String> {
    fields_of(&row.numbers, row.event_count, row.input_digest.0, row.clamped)
}

fn fields_of(numbers: &Numbers, events: i64, digest: u128, clamped: bool) -> BTreeMap<String, String> {
    let mut fields: BTreeMap<String, String> = Numbers::COLUMNS
        .iter()
        .zip(numbers.0)
        .map(|(column, number)| ((*column).to_owned(), number.to_string()))
        .collect();
    fields.insert("event_count".to_owned(), events.to_string());
    fields.insert("input_digest".to_owned(), format!("{digest:032x}"));
    fields.insert("clamped".to_owned(), clamped.to_string());
    fields
}
