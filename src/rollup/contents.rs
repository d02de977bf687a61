//! The whole content of rows that share identity and time: whether they are copies, and in which order they come.

use std::collections::HashMap;

use super::partition::{Row, Slice};
use crate::event_log::{EventLogError, EventRows};
use crate::model::content;

/// Where a row stands: slice and row of its segment.
type Place = (u32, u32);

/// What `of` makes of the content of each of these rows.
pub(super) struct Contents<T>(HashMap<Place, T>);

impl<T> Contents<T> {
    pub fn read<'r>(
        slices: &[Slice],
        rows: impl Iterator<Item = &'r Row>,
        of: impl Fn(String) -> T,
    ) -> Result<Self, EventLogError> {
        let mut places: Vec<Place> = rows.map(|row| (row.slice, row.position)).collect();
        places.sort_unstable();
        let mut contents = HashMap::with_capacity(places.len());
        for slice in places.chunk_by(|a, b| a.0 == b.0) {
            let numbers: Vec<u64> = slice.iter().map(|place| place.1.into()).collect();
            let mut next = slice.iter();
            slices[slice[0].0 as usize].segment.read_rows::<EventLogError>(&numbers, |batch| {
                for (event, place) in EventRows::new(batch).iter().zip(&mut next) {
                    contents.insert(*place, of(content(event.event_type, &event.data)));
                }
                Ok(())
            })?;
        }
        Ok(Self(contents))
    }

    pub fn of(&self, row: &Row) -> &T {
        &self.0[&(row.slice, row.position)]
    }
}
