//! Sample events: what a few thousand services would have sent, for trials, tests and benchmarks.
//!
//! Everything is computed from the [`Plan`], so the same plan gives the same bytes on every machine. Services differ in
//! size by Zipf's law and keep the working hours of their time zones. Users are invited, register, change, leave and
//! return; messages are sent before they are retrieved, and attachments before they are purged. About 1 % of the lines are
//! redeliveries, 0.5 % of the events appear hours to days late, and 0.05 % take an earlier one back.
//! Nothing holds all events: memory stays below 100 MB plus a byte for each user and some 100 for each service.

mod author;
mod calendar;
mod directory;
mod files;
mod names;
mod pool;
mod random;
mod services;
mod stream;
mod text;
mod users;

#[cfg(test)]
mod tests;

use std::io::{Error, ErrorKind, Result, Write};

use chrono::{Days, NaiveDate};

pub use files::{EVENTS_PER_FILE, write_files};
use stream::Stream;

/// Lines go out in pieces of about this many bytes, so that the writer may be unbuffered.
const PIECE_BYTES: usize = 1 << 20;

/// Progress is told every so many lines.
const PROGRESS_LINES: u64 = 1 << 16;

/// The most services and users a plan may have, as each takes memory, and the most days: sums of load stay below 2^64.
const MAX_SERVICES: u32 = 1_000_000;
const MAX_USERS: u32 = 100_000_000;
const MAX_DAYS: u32 = 36_525;

/// What to generate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How many lines, redeliveries included.
    pub events: u64,
    /// How many services, 1 to 1,000,000; fewer appear if there are not two events for each.
    pub services: u32,
    /// How many users in all services, 1 to 100,000,000. Those who have not joined by the end are at most recipients.
    pub users: u32,
    /// How many UTC days the events' times span, 1 to 36,525 (a century).
    pub days: u32,
    /// Another seed gives other events, with the same proportions.
    pub seed: u64,
    /// The last day, inclusive, in UTC. An argument because nothing here asks the clock.
    pub end: NaiveDate,
}

impl Plan {
    /// The first day in days since 1970, or what is wrong with the plan.
    fn first_day(&self) -> Result<u64> {
        let invalid = |text: String| Err(Error::new(ErrorKind::InvalidInput, text));
        for (what, value, most) in
            [("services", self.services, MAX_SERVICES), ("users", self.users, MAX_USERS), ("days", self.days, MAX_DAYS)]
        {
            if value < 1 || value > most {
                return invalid(format!("{what} must be between 1 and {most}, not {value}"));
            }
        }
        // The bounds are those of `ingest.earliest` and of years with four digits.
        let earliest = NaiveDate::from_ymd_opt(2000, 1, 1).unwrap_or_default();
        let first = self.end.checked_sub_days(Days::new(u64::from(self.days) - 1)).filter(|first| *first >= earliest);
        let latest = NaiveDate::from_ymd_opt(9999, 12, 31).unwrap_or_default();
        match first.and_then(|first| u64::try_from(first.to_epoch_days()).ok()) {
            Some(first_day) if self.end <= latest => Ok(first_day),
            _ => invalid(format!("{} days up to {} are not all between {earliest} and {latest}", self.days, self.end)),
        }
    }
}

/// Writes exactly `plan.events` lines of NDJSON, roughly in order of time; the same bytes for the same plan.
/// `progress` is told the number of lines so far, now and then and at the end.
///
/// # Errors
///
/// [`ErrorKind::InvalidInput`] if the plan is impossible, and whatever `out` fails with.
pub fn write(plan: &Plan, out: &mut dyn Write, progress: &mut dyn FnMut(u64)) -> Result<()> {
    let mut stream = Stream::new(plan, plan.first_day()?);
    write_lines(&mut stream, plan.events, out, &mut 0, progress)
}

/// Writes up to `limit` lines of the stream, counting them in `lines`.
fn write_lines(
    stream: &mut Stream,
    limit: u64,
    out: &mut dyn Write,
    lines: &mut u64,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    let mut piece = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 16);
    let stop = lines.saturating_add(limit);
    while *lines < stop && stream.next(&mut piece) {
        *lines += 1;
        if piece.len() >= PIECE_BYTES {
            out.write_all(&piece)?;
            piece.clear();
        }
        if lines.is_multiple_of(PROGRESS_LINES) {
            progress(*lines);
        }
    }
    out.write_all(&piece)?;
    progress(*lines);
    Ok(())
}
