//! What a service's users did in a period, read from the event log (`spec/usage.md`, Per-user numbers).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use rayon::prelude::*;
use uuid::Uuid;

use super::explain::{Gone, day_slices, misses_a_file};
use super::{Reading, off_runtime};
use crate::audit::DaySlice;
use crate::audit::user_usage::{Asked, UserLines, UserUsage, UsersUsage};
use crate::event_log::{EventLogError, SegmentReader};
use crate::model::{Day, Masks, PeriodType};
use crate::store::Explained;

/// All users of a service that any event names which counts, up to the end of the period, whether rolled up or not.
///
/// # Errors
/// When the store fails, or a segment that holds the service's events can't be read or is damaged.
pub async fn user_usage(
    reading: &Reading,
    service: Uuid,
    period_type: PeriodType,
    period: Day,
) -> anyhow::Result<BTreeMap<Uuid, UserUsage>> {
    let asked = Asked {
        service,
        period_type,
        period,
        zone: reading.config.reporting.timezone,
        identity_window: reading.config.ingest.identity_window_nanos(),
        masks: reading.store.known_masks().await?.unwrap_or_default(),
    };
    let mut gone = Gone::default();
    loop {
        match user_usage_as_it_is(reading, asked).await {
            Err(error) if misses_a_file(&error) => gone.must_be_replaced(reading, error).await?,
            users => return users,
        }
    }
}

async fn user_usage_as_it_is(reading: &Reading, asked: Asked) -> anyhow::Result<BTreeMap<Uuid, UserUsage>> {
    let Asked { service, period_type, period, .. } = asked;
    let explained = reading.store.explained(service, asked.days_to_read(), (period_type, period)).await?;
    let (reader, known) = (SegmentReader::new(reading.log.clone()), reading.user_lines.clone());
    Ok(off_runtime(move || users_of(asked, &explained, &reader, &known)).await??)
}

fn users_of(
    asked: Asked,
    explained: &Explained,
    reader: &SegmentReader,
    known: &KnownLines,
) -> Result<BTreeMap<Uuid, UserUsage>, EventLogError> {
    let days: Vec<(Day, Vec<DaySlice<'_>>)> =
        explained.days.iter().map(|(day, slices)| (*day, day_slices(slices, reader))).collect();
    let read = |(day, slices): &(Day, Vec<DaySlice<'_>>)| {
        slices.iter().map(|slice| known.of_slice(&asked, *day, slice)).collect::<Result<Vec<Arc<UserLines>>, _>>()
    };
    let read: Vec<Vec<Arc<UserLines>>> = days.par_iter().map(read).collect::<Result<_, _>>()?;
    let mut users = UsersUsage::new(asked);
    for ((day, slices), read) in days.iter().zip(&read) {
        let voids = explained.voids.get(day).map_or(&[][..], Vec::as_slice);
        users.take_day(*day, slices, read, voids, &explained.orders)?;
    }
    Ok(users.finish())
}

/// So many lines are kept. Each takes about half a kilobyte.
const LINES_KEPT: u64 = 1 << 16;

/// Lines that were read lately. A report tells of a service's whole history, day for day of which hardly anything changes.
#[derive(Clone)]
pub struct KnownLines(Arc<Cache<OfSlice, Arc<UserLines>, Lines>>);

/// Which lines: a segment has the same ones of a service for as long as there is that segment.
#[derive(Clone, PartialEq, Eq, Hash)]
struct OfSlice {
    service: Uuid,
    segment: Uuid,
    day: Day,
    /// Contents are told from others by these.
    masks: Masks,
}

#[derive(Clone)]
struct Lines;

impl Weighter<OfSlice, Arc<UserLines>> for Lines {
    fn weight(&self, _: &OfSlice, lines: &Arc<UserLines>) -> u64 {
        // That there are none takes room, too.
        lines.len() as u64 + 1
    }
}

impl Default for KnownLines {
    fn default() -> Self {
        let slices = usize::try_from(LINES_KEPT / 8).unwrap_or(usize::MAX);
        Self(Arc::new(Cache::with_weighter(slices, LINES_KEPT, Lines)))
    }
}

impl KnownLines {
    fn of_slice(&self, asked: &Asked, day: Day, slice: &DaySlice<'_>) -> Result<Arc<UserLines>, EventLogError> {
        let Asked { service, masks, .. } = *asked;
        let key = OfSlice { service, segment: slice.segment(), day, masks };
        self.0.get_or_insert_with(&key, || UserLines::read(service, slice, &masks).map(Arc::new))
    }
}

impl fmt::Debug for KnownLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownLines").field("slices", &self.0.len()).finish()
    }
}
