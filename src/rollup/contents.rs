//! The whole content of rows that share identity and time: whether they are copies, and in which order they come.

use std::collections::HashMap;

use super::partition::{Rows, Slice};
use crate::event_log::{EventLogError, EventRows, Fingerprint, LogLine};
use crate::model::{Masks, content};

/// The fingerprints of these rows, by row number; nothing stands in the places of all others.
pub(super) fn fingerprints(
    rows: &Rows,
    slices: &[Slice],
    masks: &Masks,
    wanted: &[u32],
) -> Result<Vec<Fingerprint>, EventLogError> {
    let mut fingerprints = vec![Fingerprint::default(); rows.all.len()];
    of_each_slice(rows, wanted, |slice, of_slice, positions| {
        let mut next = of_slice.iter();
        slices[slice].segment.fingerprints(positions, masks, |fingerprint| {
            if let Some(row) = next.next() {
                fingerprints[*row as usize] = fingerprint;
            }
        })
    })?;
    Ok(fingerprints)
}

/// The canonical contents of these rows. A bare row has none, so it comes before all others that share its identity and time; it
/// was made bare only where there were none ([`super::Folder::contested`]).
pub(super) fn texts(rows: &Rows, slices: &[Slice], wanted: &[u32]) -> Result<HashMap<u32, String>, EventLogError> {
    let mut texts = HashMap::with_capacity(wanted.len());
    of_each_slice(rows, wanted, |slice, of_slice, positions| {
        let mut next = of_slice.iter();
        slices[slice].segment.read_rows::<EventLogError>(positions, |batch| {
            for (LogLine { event, fingerprint, .. }, row) in EventRows::new(batch).lines().zip(&mut next) {
                let text = || content(event.event_type, &event.data);
                texts.insert(*row, if fingerprint.is_some() { String::new() } else { text() });
            }
            Ok(())
        })
    })?;
    Ok(texts)
}

/// Calls `read` with each slice that holds some of these rows, with their numbers, and with their positions in its segment.
fn of_each_slice(
    rows: &Rows,
    wanted: &[u32],
    mut read: impl FnMut(usize, &[u32], &[usize]) -> Result<(), EventLogError>,
) -> Result<(), EventLogError> {
    let row = |number: &u32| &rows.all[*number as usize];
    // Rows are numbered as they were loaded: by slice and position.
    let mut in_place = wanted.to_vec();
    in_place.sort_unstable();
    let mut positions = Vec::new();
    for of_slice in in_place.chunk_by(|a, b| row(a).slice == row(b).slice) {
        positions.clear();
        positions.extend(of_slice.iter().map(|number| row(number).position as usize));
        read(row(&of_slice[0]).slice as usize, of_slice, &positions)?;
    }
    Ok(())
}
