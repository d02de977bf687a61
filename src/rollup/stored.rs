//! Event order, and dropping copies: of the log's lines, those that are stored (`spec/events.md`, What happens to each input
//! line).

use std::collections::HashMap;
use std::ops::Range;

use super::contents::Contents;
use super::partition::{Rows, Slice};
use crate::event_log::EventLogError;

/// The rows of a service that are stored, in event order, and those that are copies of them.
pub(super) struct Stored {
    pub service: u128,
    pub rows: Vec<u32>,
    pub copies: Vec<u32>,
}

/// Orders each service's rows, and tells copies from what is stored. Of several copies the first to arrive is the stored one.
pub(super) fn stored_rows(rows: &Rows, slices: &[Slice]) -> Result<Vec<Stored>, EventLogError> {
    let mut services: Vec<Stored> = Vec::with_capacity(rows.services.len());
    let mut unlike: Vec<Vec<u32>> = Vec::new();
    for (service, parts) in &rows.services {
        let order = in_event_order(rows, parts);
        let mut stored = Stored { service: *service, rows: Vec::with_capacity(order.len()), copies: Vec::new() };
        for group in order.chunk_by(|a, b| is_tied(rows, *a, *b)) {
            stored.rows.push(group[0]);
            // Where all but one row repeat the row before them, which stands in the same group, no content has to be read.
            match group {
                [_] => {}
                group if group.iter().filter(|row| !rows.all[**row as usize].is_copy).count() > 1 => {
                    unlike.push(group.to_vec());
                }
                group => stored.copies.extend_from_slice(&group[1..]),
            }
        }
        services.push(stored);
    }
    if !unlike.is_empty() {
        let distinct = distinct_contents(rows, slices, &unlike)?;
        for service in &mut services {
            service.resolve(&distinct);
        }
    }
    Ok(services)
}

impl Stored {
    /// Puts what differs in content in the place of the first row of its group.
    fn resolve(&mut self, distinct: &HashMap<u32, Distinct>) {
        let mut resolved = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            match distinct.get(row) {
                None => resolved.push(*row),
                Some(group) => {
                    resolved.extend_from_slice(&group.rows);
                    self.copies.extend_from_slice(&group.copies);
                }
            }
        }
        self.rows = resolved;
    }
}

fn is_tied(rows: &Rows, a: u32, b: u32) -> bool {
    let (a, b) = (&rows.all[a as usize], &rows.all[b as usize]);
    a.time == b.time && a.identity == b.identity && rows.compare_identity(a, b).is_eq()
}

/// Slices are in event order as they are stored, so sorting merges runs.
fn in_event_order(rows: &Rows, parts: &[Range<usize>]) -> Vec<u32> {
    let number = |row: usize| u32::try_from(row).expect("a pass holds fewer than 2^32 rows");
    let mut order: Vec<u32> = parts.iter().cloned().flatten().map(number).collect();
    if parts.len() > 1 {
        order.sort_by(|a, b| rows.compare(&rows.all[*a as usize], &rows.all[*b as usize]));
    }
    order
}

/// Rows of one identity and time.
struct Distinct {
    /// One a content, in order of content.
    rows: Vec<u32>,
    copies: Vec<u32>,
}

/// Tells the contents of rows that share identity and time apart, by each group's first row.
fn distinct_contents(
    rows: &Rows,
    slices: &[Slice],
    tied: &[Vec<u32>],
) -> Result<HashMap<u32, Distinct>, EventLogError> {
    let of = |row: &u32| &rows.all[*row as usize];
    let hashes = Contents::read(slices, tied.iter().flatten().map(of), |content| blake3::hash(content.as_bytes()))?;
    let mut distinct = HashMap::with_capacity(tied.len());
    for group in tied {
        let mut found = Distinct { rows: Vec::with_capacity(1), copies: Vec::new() };
        for row in group {
            let is_same = |other: &u32| hashes.of(of(other)) == hashes.of(of(row));
            let kept = if found.rows.iter().any(is_same) { &mut found.copies } else { &mut found.rows };
            kept.push(*row);
        }
        distinct.insert(group[0], found);
    }
    let several = || distinct.values().map(|group| &group.rows).filter(|rows| rows.len() > 1);
    let contents = Contents::read(slices, several().flatten().map(of), |content| content)?;
    for group in distinct.values_mut().filter(|group| group.rows.len() > 1) {
        group.rows.sort_by(|a, b| contents.of(of(a)).cmp(contents.of(of(b))));
    }
    Ok(distinct)
}
