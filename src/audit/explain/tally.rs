//! Adding up a number, one UTC day after the other, so that no more than a service's day is held in memory.

use std::collections::HashMap;

use uuid::Uuid;

use super::super::line::{self, DaySlice, Earlier, Fate, Judged, Line};
use super::answer::{Answer, Entry, EventEntry, More, NotCounted, Opening, Place, Reason, guid};
use super::users::Users;
use super::{Field, FieldKind};
use crate::event_log::{EventLogError, EventRows, LogLine};
use crate::model::{Day, EventType, Instant, Masks, PeriodType, Zone};
use crate::rollup::{ContentOrders, VoidMark};

/// Which number is to be explained.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    pub service: Uuid,
    pub period_type: PeriodType,
    /// The first day of the period.
    pub period: Day,
    pub field: Field,
    /// So many events, users and lines that do not count are listed, of each.
    pub limit: usize,
    /// Whether all events of a sum are listed, also those before the period.
    pub all: bool,
    pub zone: Zone,
    pub today: Day,
    /// In nanoseconds (`ingest.identity_window`).
    pub identity_window: i64,
    /// What contents are compared under.
    pub masks: Masks,
}

/// An answer that grows.
pub struct Tally {
    question: Question,
    answer: Answer,
    users: Users,
    openings: Vec<(Day, Opening)>,
    /// What is known of the days so far.
    earlier: Earlier,
    /// Those of the lines listed as voided, by what a void of each names.
    voided: HashMap<VoidMark, Vec<usize>>,
}

impl Question {
    /// The last day of the period that rows can reach.
    #[must_use]
    pub fn through(&self) -> Day {
        self.period_type.after(self.period).previous().min(self.today)
    }

    /// The UTC days to read: those of events that may have a part in the number, and those that they may conflict with.
    #[must_use]
    pub fn days_to_read(&self) -> (Day, Day) {
        let (first, last) = self.utc_days();
        if first.0 == i32::MIN {
            return (first, last);
        }
        let reached = Instant::from_nanos(first.utc_start().nanos().saturating_sub(self.identity_window));
        (Day::utc_of(reached), last)
    }

    /// The UTC days whose events may have a part in the number.
    #[must_use]
    pub fn utc_days(&self) -> (Day, Day) {
        let first = match self.field.kind() {
            FieldKind::Counter => Day::utc_of(self.zone.start_of(self.period)),
            FieldKind::Users(_) | FieldKind::Storage => Day(i32::MIN),
        };
        // Events of the period that lie after today are told, too.
        let end = self.zone.start_of(self.period_type.after(self.period)).nanos();
        (first, Day::utc_of(Instant::from_nanos(end - 1)))
    }
}

/// By time, source and id, and then by input and line.
type LineOrder = (Instant, String, String, i64, u64);

impl Tally {
    #[must_use]
    pub fn new(question: Question) -> Self {
        let answer = Answer {
            service: guid(question.service),
            period_type: question.period_type.name(),
            period: question.period.to_string(),
            field: question.field.name(),
            through: question.through().to_string(),
            opening: Vec::new(),
            events: Vec::new(),
            users: Vec::new(),
            more: More::default(),
            sum: 0,
            cut: 0,
            number: 0,
            not_counted: Vec::new(),
            more_not_counted: 0,
            pending: Vec::new(),
            row: None,
            remark: None,
        };
        Self {
            question,
            answer,
            users: Users::default(),
            openings: Vec::new(),
            earlier: Earlier::default(),
            voided: HashMap::new(),
        }
    }

    /// Takes the service's lines of the next UTC day. `is_pending` tells that it waits to be rolled up.
    ///
    /// # Errors
    /// When a segment can't be read or is damaged.
    pub fn take_day(
        &mut self,
        partition: Day,
        slices: &[DaySlice<'_>],
        voids: &[VoidMark],
        orders: &ContentOrders,
        is_pending: bool,
    ) -> Result<(), EventLogError> {
        let (service, window) = (self.question.service, self.question.identity_window);
        let lines = line::read(service, slices, &self.question.masks)?;
        let judged = line::judge(service, lines, slices, (voids, orders), &self.earlier, window)?;
        let mut has_any = false;
        let is_before = partition < self.question.utc_days().0;
        for (at, (line, fate)) in judged.lines.iter().zip(&judged.fates).enumerate().filter(|_| !is_before) {
            if let Some(contribution) = self.question.field.contribution(line) {
                has_any = true;
                self.take(&judged, slices, at, (line, *fate), contribution, is_pending);
            }
        }
        self.earlier.end_day(&judged, slices, is_pending, partition.next().utc_start(), window);
        if is_pending && has_any {
            self.answer.pending.push(partition.to_string());
        }
        Ok(())
    }

    fn take(
        &mut self,
        judged: &Judged,
        slices: &[DaySlice<'_>],
        at: usize,
        (line, fate): (&Line, Fate),
        contribution: i128,
        is_pending: bool,
    ) {
        let Question { period, zone, field, all, .. } = self.question;
        let day = zone.day_of(line.time);
        let entry = |at: usize| {
            let line = &judged.lines[at];
            event_entry(line, &slices[line.slice].path, is_pending)
        };
        let is_counter = field.kind() == FieldKind::Counter;
        let reason = match fate {
            Fate::CopyOf(of) => Reason::Duplicate { of: entry(of).place },
            Fate::Voided => Reason::Voided { by: None },
            Fate::ConflictsWith(with) => Reason::Conflicting { with: Box::new(entry(with)) },
            Fate::ConflictsWithEarlier => {
                let with = self.earlier.find(line).expect("it was found when the line was judged");
                Reason::Conflicting { with: Box::new(event_entry(&with.line, &with.path, with.is_pending)) }
            }
            Fate::Counts if is_counter && day < period => Reason::OtherDay { day: day.to_string() },
            Fate::Counts if day >= self.question.period_type.after(period) => Reason::OtherDay { day: day.to_string() },
            Fate::Counts if day > self.question.through() => Reason::NotYet { day: day.to_string() },
            Fate::Counts => {
                self.answer.sum += contribution;
                match field.kind() {
                    FieldKind::Users(_) => self.users.take(line, &entry(at)),
                    FieldKind::Storage if day < period && !all => self.open(day.month(), contribution),
                    _ if self.answer.events.len() < self.question.limit => {
                        self.answer.events.push(Entry { contribution, event: entry(at) });
                    }
                    _ => {
                        self.answer.more.count += 1;
                        self.answer.more.contribution += contribution;
                    }
                }
                return;
            }
        };
        if self.answer.not_counted.len() < self.question.limit {
            if fate == Fate::Voided {
                let (source, id) = (line.source.to_string(), line.id.to_string());
                let mark = VoidMark { service: self.question.service, time: line.time, source, id };
                self.voided.entry(mark).or_default().push(self.answer.not_counted.len());
            }
            self.answer.not_counted.push(NotCounted { reason, event: entry(at) });
        } else {
            self.answer.more_not_counted += 1;
        }
    }

    fn open(&mut self, month: Day, contribution: i128) {
        match self.openings.last_mut() {
            Some((last, opening)) if *last == month => {
                opening.events += 1;
                opening.contribution += contribution;
            }
            _ => self.openings.push((month, Opening { month: month.to_string(), events: 1, contribution })),
        }
    }

    /// Whether it is still to be found which voids took listed events back.
    #[must_use]
    pub fn looks_for_voids(&self) -> bool {
        !self.voided.is_empty()
    }

    /// Looks among the service's lines of one UTC day for the voids of listed events.
    ///
    /// # Errors
    /// When a segment can't be read or is damaged.
    pub fn look_for_voids(&mut self, slices: &[DaySlice<'_>]) -> Result<(), EventLogError> {
        // Of several the first, in event order and then of arrival, in whatever segments they lie.
        let mut first: HashMap<VoidMark, (LineOrder, EventEntry)> = HashMap::new();
        for slice in slices {
            let segment = slice.open()?;
            let positions = line::positions(self.question.service, &segment, slice)?;
            let (Some(from), Some(through)) = (positions.first(), positions.last()) else { continue };
            let voids = segment.rows_of_type(&(*from..*through + 1), EventType::EventVoided)?;
            if voids.is_empty() {
                continue;
            }
            let mut rows = voids.iter();
            segment.read_rows::<EventLogError>(&voids, |batch| {
                for (LogLine { event, fingerprint, input, line }, row) in EventRows::new(batch).lines().zip(&mut rows) {
                    let Some(mark) = VoidMark::of(&event).filter(|mark| self.voided.contains_key(mark)) else {
                        continue;
                    };
                    let (source, id) = (event.source.clone().into_owned(), event.id.clone().into_owned());
                    let order = (event.time, source.clone(), id.clone(), input, line);
                    if first.get(&mark).is_some_and(|(before, _)| *before <= order) {
                        continue;
                    }
                    let by = EventEntry {
                        time: shown(event.time),
                        event_type: event.event_type.name(),
                        source,
                        id,
                        user: None,
                        pending: false,
                        dropped: fingerprint.is_some(),
                        place: place(&slice.path, *row, input, line),
                    };
                    first.insert(mark, (order, by));
                }
                Ok(())
            })?;
        }
        for (mark, (_, by)) in first {
            for at in self.voided.remove(&mark).into_iter().flatten() {
                self.answer.not_counted[at].reason = Reason::Voided { by: Some(Box::new(by.clone())) };
            }
        }
        Ok(())
    }

    /// The answer, but for what is stored.
    #[must_use]
    pub fn finish(self) -> Answer {
        let Self { question, mut answer, users, openings, .. } = self;
        answer.opening = openings.into_iter().map(|(_, opening)| opening).collect();
        if let FieldKind::Users(class) = question.field.kind() {
            for user in users.of(class) {
                answer.sum += user.contribution;
                if answer.users.len() < question.limit {
                    answer.users.push(user);
                } else {
                    answer.more.count += 1;
                    answer.more.contribution += user.contribution;
                }
            }
        }
        answer.number = i64::try_from(answer.sum.max(0)).unwrap_or(i64::MAX);
        answer.cut = i128::from(answer.number) - answer.sum;
        answer
    }
}

fn event_entry(line: &Line, path: &str, is_pending: bool) -> EventEntry {
    EventEntry {
        time: shown(line.time),
        event_type: line.event_type.name(),
        source: line.source.to_string(),
        id: line.id.to_string(),
        user: line.user.filter(|_| line.event_type.changes_users()).map(guid),
        pending: is_pending,
        dropped: line.is_bare,
        place: place(path, line.row, line.input, line.number),
    }
}

fn place(path: &str, row: usize, input: i64, line: u64) -> Place {
    Place { segment: path.to_owned(), row, input, input_name: String::new(), line }
}

/// To the nanosecond, for order may rest on it.
fn shown(time: Instant) -> String {
    time.to_utc().to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}
