//! What a service's users did in a period, read from the event log (`spec/usage.md`, Per-user numbers).

use std::collections::BTreeMap;

use uuid::Uuid;

use super::explain::{Gone, misses_a_file, open};
use super::{Reading, off_runtime};
use crate::audit::user_usage::{Asked, UserUsage, UsersUsage};
use crate::event_log::{EventLogError, SegmentReader};
use crate::model::{Day, PeriodType};
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
    let reader = SegmentReader::new(reading.log.clone());
    Ok(off_runtime(move || read(asked, &explained, &reader)).await??)
}

fn read(
    asked: Asked,
    explained: &Explained,
    reader: &SegmentReader,
) -> Result<BTreeMap<Uuid, UserUsage>, EventLogError> {
    let mut users = UsersUsage::new(asked);
    for (day, slices) in &explained.days {
        let voids = explained.voids.get(day).map_or(&[][..], Vec::as_slice);
        users.take_day(*day, &open(slices, reader)?, voids, &explained.orders)?;
    }
    Ok(users.finish())
}
