//! Explain: the events behind a number, from the pages of the log that are the service's. Nothing is changed, and no lease is
//! needed: the catalog and the row are read as one state, and segments stay as they are or are replaced whole.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use uuid::Uuid;

use super::{Reading, off_runtime};
use crate::audit::DaySlice;
use crate::audit::explain::{Answer, Field, Question, StoredRow, Tally};
use crate::event_log::{EventLogError, Segment, SegmentPartition, SegmentReader};
use crate::model::{Day, PeriodType, RowState, UsageRow};
use crate::store::Explained;

/// What somebody wants explained.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub service: Uuid,
    pub period_type: PeriodType,
    /// Any day of the period.
    pub period: Day,
    pub field: Field,
    pub limit: usize,
    pub all: bool,
}

type Days = BTreeMap<Day, Vec<(Segment, SegmentPartition)>>;

/// Finds the events behind a number. Segments that are replaced while it looks for them are looked for anew, where their lines
/// stand then.
///
/// # Errors
/// When the store fails, or a segment that holds such events can't be read or is damaged.
pub async fn explain(reading: &Reading, asked: Asked) -> anyhow::Result<Answer> {
    let mut gone = Gone::default();
    loop {
        match Box::pin(explain_as_it_is(reading, asked)).await {
            Err(error) if misses_a_file(&error) => gone.must_be_replaced(reading, error).await?,
            answer => return answer,
        }
    }
}

/// The catalog of which a file was gone: it is looked for again until nothing is replaced meanwhile.
#[derive(Default)]
pub(super) struct Gone(Option<Vec<Segment>>);

impl Gone {
    /// # Errors
    /// The error itself, where the catalog is still the same; or when the store fails.
    pub async fn must_be_replaced(&mut self, reading: &Reading, error: anyhow::Error) -> anyhow::Result<()> {
        let catalog = reading.store.catalog().await?;
        if self.0.as_ref() == Some(&catalog) {
            return Err(error);
        }
        self.0 = Some(catalog);
        Ok(())
    }
}

pub(super) fn misses_a_file(error: &anyhow::Error) -> bool {
    let is_missing = |cause: &EventLogError| matches!(cause, EventLogError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound);
    error.downcast_ref().is_some_and(is_missing)
}

async fn explain_as_it_is(reading: &Reading, asked: Asked) -> anyhow::Result<Answer> {
    let period = asked.period_type.period_of(asked.period);
    let store = &reading.store;
    let question = Question {
        service: asked.service,
        period_type: asked.period_type,
        period,
        field: asked.field,
        limit: asked.limit,
        all: asked.all,
        zone: reading.config.reporting.timezone,
        today: reading.today(),
        identity_window: reading.config.ingest.identity_window_nanos(),
        masks: store.known_masks().await?.unwrap_or_default(),
    };
    let days = question.days_to_read();
    let explained = store.explained(question.service, days, (question.period_type, period)).await?;
    let reader = Arc::new(SegmentReader::new(reading.log.clone()));
    let (with, row, progress) = (reader.clone(), explained.row.clone(), explained.progress);
    let mut tally = off_runtime(move || add_up(question, &explained, &with)).await??;
    if tally.looks_for_voids() {
        let all = store.catalog().await?;
        tally = off_runtime(move || look_for_voids(tally, &by_day(&all), &reader)).await??;
    }
    let mut answer = tally.finish();
    let inputs: BTreeSet<i64> = answer.places_mut().map(|place| place.input).collect();
    let names = store.input_names(&inputs.into_iter().collect::<Vec<i64>>()).await?;
    for place in answer.places_mut() {
        place.input_name = names.get(&place.input).cloned().unwrap_or_default();
    }
    let waits_from = progress.and_then(|progress| progress.dirty_from).filter(|from| *from <= question.through());
    let reach = progress.and_then(|progress| progress.rows_through);
    let is_locked = store.locked_months().await?.iter().any(|locked| locked.month == period.month());
    compare(&mut answer, row.as_ref(), question, (waits_from, reach), is_locked);
    Ok(answer)
}

fn add_up(question: Question, explained: &Explained, reader: &SegmentReader) -> Result<Tally, EventLogError> {
    let mut tally = Tally::new(question);
    for (day, slices) in &explained.days {
        let voids = explained.voids.get(day).map_or(&[][..], Vec::as_slice);
        tally.take_day(*day, &day_slices(slices, reader), voids, &explained.orders, explained.dirty.contains(day))?;
    }
    Ok(tally)
}

fn look_for_voids(mut tally: Tally, days: &Days, reader: &SegmentReader) -> Result<Tally, EventLogError> {
    for slices in days.values() {
        if !tally.looks_for_voids() {
            break;
        }
        tally.look_for_voids(&day_slices(slices, reader))?;
    }
    Ok(tally)
}

fn by_day(catalog: &[Segment]) -> Days {
    let mut days = Days::new();
    for segment in catalog {
        for partition in &segment.partitions {
            let bare = Segment { partitions: Vec::new(), ..segment.clone() };
            days.entry(partition.day).or_default().push((bare, partition.clone()));
        }
    }
    days
}

pub(super) fn day_slices<'a>(
    slices: &'a [(Segment, SegmentPartition)],
    reader: &'a SegmentReader,
) -> Vec<DaySlice<'a>> {
    slices.iter().map(|slice| DaySlice::new(reader, slice)).collect()
}

/// Holds the number against the row that is stored.
fn compare(
    answer: &mut Answer,
    row: Option<&UsageRow>,
    question: Question,
    (waits_from, reach): (Option<Day>, Option<Day>),
    is_locked: bool,
) {
    let stored = |row: &UsageRow| match question.field {
        Field::Number(at) => row.numbers.0[at],
        Field::EventCount => row.event_count,
    };
    answer.row = row.map(|row| StoredRow {
        number: stored(row),
        state: if is_locked { RowState::Locked.name() } else { row.state.name() },
        revision: row.revision,
        computed_at: row.computed_at.to_rfc3339_seconds(),
    });
    let mut waits = Vec::new();
    if !answer.pending.is_empty() {
        waits.push(format!("the UTC days {} wait to be rolled up", answer.pending.join(", ")));
    }
    waits.extend(waits_from.map(|from| format!("rows from {from} on wait to be drawn")));
    if let Some(reach) = reach.filter(|reach| *reach < question.through()) {
        waits.push(format!("rows reach no further than {reach}"));
    }
    let waits = (!waits.is_empty()).then(|| format!("{}; run `usage-rollup rollup`", waits.join(", and ")));
    answer.remark = match answer.row.as_ref().map(|row| row.number) {
        Some(number) if number == answer.number => waits.map(|waits| format!("{waits}, which may change the row")),
        Some(number) => {
            let by = i128::from(answer.number) - i128::from(number);
            let nothing_waits = if is_locked {
                "its month is locked, and what would change it waits for `usage-rollup periods unlock`"
            } else {
                "nothing waits: run `usage-rollup verify`"
            };
            let why = waits.unwrap_or_else(|| nothing_waits.to_owned());
            Some(format!("the row differs from the events by {by}: {why}"))
        }
        None => Some(waits.unwrap_or_else(|| {
            "there is no row: the period lies before the service's first event that counts, or after today".to_owned()
        })),
    };
}
