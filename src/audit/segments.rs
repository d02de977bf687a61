//! Whether a segment's file is what was written.

use std::collections::BTreeMap;

use super::{Difference, Subject};
use crate::event_log::{EventLogDir, EventLogError, EventRows, FileHash, OpenSegment, Segment, SegmentReader};
use crate::model::EventType;
use crate::rollup::VoidMark;

/// What a segment was found to be.
#[derive(Debug, Default)]
pub struct CheckedSegment {
    pub differences: Vec<Difference>,
    /// How many lines each input has in it; none where that can't be read.
    pub lines: Option<BTreeMap<i64, u64>>,
    /// What its lines take back.
    pub voids: Vec<VoidMark>,
}

/// Reads a file whole, and holds it against the catalog.
#[must_use]
pub fn check_segment(log: &EventLogDir, reader: &SegmentReader, segment: &Segment) -> CheckedSegment {
    let subject = Subject::Segment { path: segment.path.clone() };
    let mut checked = CheckedSegment::default();
    let found = &mut checked.differences;
    match log.hash_of(&segment.path) {
        Err(error) => {
            found.push(Difference::new(&subject, "file", &"a file that can be read", &told(&error)));
            return checked;
        }
        Ok(FileHash { bytes, hash }) => {
            if bytes != segment.bytes {
                found.push(Difference::new(&subject, "bytes", &segment.bytes, &bytes));
            }
            if hash != segment.hash {
                let hex = |hash: [u8; 32]| blake3::Hash::from(hash).to_hex();
                found.push(Difference::new(&subject, "hash", &hex(segment.hash), &hex(hash)));
            }
        }
    }
    let of_days: u64 = segment.partitions.iter().map(|partition| partition.rows).fold(0, u64::saturating_add);
    let mut next = 0_u64;
    for partition in &segment.partitions {
        if partition.first_row != next {
            found.push(Difference::new(
                &subject,
                &format!("first row of {}", partition.day),
                &next,
                &partition.first_row,
            ));
        }
        next = next.saturating_add(partition.rows);
    }
    if of_days != segment.rows {
        found.push(Difference::new(&subject, "rows of its days", &segment.rows, &of_days));
    }
    match reader.open(segment).and_then(|open| read(&open)) {
        Err(error) => found.push(Difference::new(&subject, "content", &"what was written", &told(&error))),
        Ok((lines, voids)) => {
            let rows: u64 = lines.values().sum();
            if rows != segment.rows {
                found.push(Difference::new(&subject, "rows", &segment.rows, &rows));
            }
            (checked.lines, checked.voids) = (Some(lines), voids);
        }
    }
    checked
}

fn read(segment: &OpenSegment) -> Result<(BTreeMap<i64, u64>, Vec<VoidMark>), EventLogError> {
    let lines = segment.lines_by_input()?;
    let mut voids = Vec::new();
    let rows = segment.rows_of_type(&(0..segment.rows()), EventType::EventVoided)?;
    if !rows.is_empty() {
        segment.read_rows::<EventLogError>(&rows, |batch| {
            voids.extend(EventRows::new(batch).iter().filter_map(|event| VoidMark::of(&event)));
            Ok(())
        })?;
    }
    Ok((lines, voids))
}

/// Without the path, which is named already and tells where this machine keeps it.
fn told(error: &EventLogError) -> String {
    match error {
        EventLogError::Io { action, source, .. } => format!("cannot {action} it: {source}"),
        EventLogError::Damaged { detail, .. } | EventLogError::Foreign { detail, .. } => detail.clone(),
        EventLogError::Encode(error) => error.to_string(),
    }
}
