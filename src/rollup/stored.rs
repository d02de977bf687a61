//! Event order, and dropping copies: of the log's lines, those that are stored (`spec/events.md`, What happens to each input
//! line).

use std::collections::HashSet;
use std::ops::Range;

use foldhash::fast::FixedState;
use uuid::Uuid;

use super::contents::{fingerprints, texts};
use super::facts::ContentOrders;
use super::partition::{Rows, Slice};
use crate::event_log::{EventLogError, Fingerprint};
use crate::model::{Instant, Masks, content_key};

/// The rows of a service that are stored, in event order, and those that are copies of them.
pub(super) struct Stored {
    pub service: u128,
    pub rows: Vec<u32>,
    pub copies: Vec<u32>,
}

/// Orders each service's rows, and tells copies from what is stored. Of several copies the first to arrive is the stored one.
/// Contents of one identity and time come in the order that is noted of them, and behind these as they compare.
pub(super) fn stored_rows(
    rows: &Rows,
    slices: &[Slice],
    known: (&ContentOrders, &Masks),
) -> Result<Vec<Stored>, EventLogError> {
    let mut services: Vec<Stored> = Vec::with_capacity(rows.services.len());
    let mut open = Tied::default();
    for (service, parts) in &rows.services {
        let order = in_event_order(rows, parts);
        let mut stored = Stored { service: *service, rows: Vec::with_capacity(order.len()), copies: Vec::new() };
        for group in order.chunk_by(|a, b| is_tied(rows, *a, *b)) {
            stored.rows.push(group[0]);
            // Where all but one row repeat the row before them, which stands in the same group, no content has to be read.
            match group {
                [_] => {}
                group if group.iter().filter(|row| !rows.all[**row as usize].is_copy).count() > 1 => open.push(group),
                group => stored.copies.extend_from_slice(&group[1..]),
            }
        }
        services.push(stored);
    }
    if !open.rows.is_empty() {
        open.resolve(rows, slices, known, &mut services)?;
    }
    Ok(services)
}

/// The rows that share identity and time with one of another content.
pub(super) fn contested_rows(rows: &Rows, slices: &[Slice], masks: &Masks) -> Result<Vec<u32>, EventLogError> {
    let mut open = Tied::default();
    for (_, parts) in &rows.services {
        let order = in_event_order(rows, parts);
        order.chunk_by(|a, b| is_tied(rows, *a, *b)).filter(|group| group.len() > 1).for_each(|group| open.push(group));
    }
    let fingerprints = fingerprints(rows, slices, masks, &open.rows)?;
    let is_contested =
        |group: &&[u32]| group.iter().any(|row| fingerprints[*row as usize] != fingerprints[group[0] as usize]);
    Ok(open.groups().filter(is_contested).flatten().copied().collect())
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

/// Groups of rows that share identity and time, and of which only the contents tell whether they are copies.
#[derive(Default)]
struct Tied {
    rows: Vec<u32>,
    ends: Vec<usize>,
}

impl Tied {
    fn push(&mut self, group: &[u32]) {
        self.rows.extend_from_slice(group);
        self.ends.push(self.rows.len());
    }

    fn groups(&self) -> impl Iterator<Item = &[u32]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.rows[start..*end])
    }

    /// Puts what differs in content in the place of the first row of each group, in order of content. The groups come in the
    /// order of the services' rows.
    fn resolve(
        &self,
        rows: &Rows,
        slices: &[Slice],
        (orders, masks): (&ContentOrders, &Masks),
        services: &mut [Stored],
    ) -> Result<(), EventLogError> {
        let fingerprints = fingerprints(rows, slices, masks, &self.rows)?;
        let mut groups = self.groups().peekable();
        let mut conflicts: Vec<(usize, Range<usize>)> = Vec::new();
        for (number, service) in services.iter_mut().enumerate() {
            let firsts = std::mem::take(&mut service.rows);
            service.rows.reserve(firsts.len());
            for first in firsts {
                match groups.next_if(|group| group[0] == first) {
                    None => service.rows.push(first),
                    Some(group) => conflicts.extend(service.divide(group, &fingerprints).map(|rows| (number, rows))),
                }
            }
        }
        let of_conflicts = |(service, range): &(usize, Range<usize>)| services[*service].rows[range.clone()].to_vec();
        let texts = texts(rows, slices, &conflicts.iter().flat_map(of_conflicts).collect::<Vec<u32>>())?;
        for (service, range) in conflicts {
            let of = Uuid::from_u128(services[service].service);
            let rank = |number: &u32| {
                let row = &rows.all[*number as usize];
                let time = Instant::from_nanos(row.time);
                let key = || content_key(of, time, rows.source(row), &rows.id(row), &texts[number]);
                if orders.is_empty() { u32::MAX } else { orders.get(&key()).copied().unwrap_or(u32::MAX) }
            };
            services[service].rows[range].sort_by_cached_key(|row| (rank(row), &texts[row]));
        }
        Ok(())
    }
}

impl Stored {
    /// Takes rows that share identity and time: of each content the first is stored. Gives their places where the contents
    /// are several.
    fn divide(&mut self, group: &[u32], fingerprints: &[Fingerprint]) -> Option<Range<usize>> {
        let first = self.rows.len();
        let mut known: HashSet<&Fingerprint, FixedState> = HashSet::default();
        for row in group {
            let is_new = known.insert(&fingerprints[*row as usize]);
            if is_new { &mut self.rows } else { &mut self.copies }.push(*row);
        }
        (known.len() > 1).then_some(first..self.rows.len())
    }
}
