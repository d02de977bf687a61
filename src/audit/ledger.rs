//! Whether each input's lines ended where the ledger says (`spec/events.md`, What happens to each input line).

use std::collections::BTreeMap;

use super::{Difference, Subject};
use crate::model::Day;
use crate::rollup::VoidMark;
use crate::store::{AuditedInput, LedgerFix};

/// What the event log says of all inputs.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The lines of each input in the log; none where a segment can't be read.
    pub accepted: Option<BTreeMap<i64, u64>>,
    /// Copies, voided and conflicting lines.
    pub uncounted: BTreeMap<i64, [i64; 3]>,
}

/// Holds the inputs against the log. Tells, too, what the ledger must be set to where that is known.
#[must_use]
pub fn compare_ledger(inputs: &[AuditedInput], log: &Ledger) -> (Vec<Difference>, Vec<LedgerFix>) {
    let (mut found, mut fixes) = (Vec::new(), Vec::new());
    for input in inputs {
        let subject = Subject::Input { input: input.id, name: input.name.clone() };
        let of_log = log.accepted.as_ref().map(|lines| lines.get(&input.id).copied().unwrap_or_default().cast_signed());
        let uncounted = log.uncounted.get(&input.id).copied().unwrap_or_default();
        let accepted = of_log.unwrap_or(input.accepted);
        let before = found.len();
        let mut check = |field: &str, expected: i64, stored: i64| {
            if expected != stored {
                found.push(Difference::new(&subject, field, &expected, &stored));
            }
        };
        check("accepted", accepted, input.accepted);
        for ((field, expected), stored) in
            ["duplicate", "voided", "conflicting"].iter().zip(uncounted).zip(input.uncounted)
        {
            check(field, expected, stored);
        }
        check("rejected", input.dead_letters, input.rejected);
        check("lines", input.accepted.wrapping_add(input.rejected), input.lines);
        // Nothing can be counted that was not accepted.
        let counted = accepted.wrapping_sub(uncounted.iter().sum());
        if counted < 0 {
            found.push(Difference::new(&subject, "counted", &"at least 0", &counted));
        }
        if found.len() > before && of_log.is_some() {
            fixes.push(LedgerFix { input: input.id, accepted, uncounted });
        }
    }
    for (input, lines) in log.accepted.iter().flatten() {
        if inputs.binary_search_by_key(input, |known| known.id).is_err() {
            let subject = Subject::Input { input: *input, name: "not in the ledger".to_owned() };
            found.push(Difference::new(&subject, "accepted", lines, &"no such input"));
        }
    }
    (found, fixes)
}

/// Names the voids that the store lost, and those that it has and the log does not.
#[must_use]
pub fn compare_voids(lost: &[VoidMark], unknown: &[VoidMark]) -> Vec<Difference> {
    let difference = |mark: &VoidMark, expected: &str, found: &str| {
        let subject = Subject::Void { service: mark.service, target_day: Day::utc_of(mark.time) };
        Difference::new(&subject, &format!("void of {} {}", mark.source, mark.id), &expected, &found)
    };
    let lost = lost.iter().map(|mark| difference(mark, "one, as in the event log", "none"));
    let unknown = unknown.iter().map(|mark| difference(mark, "none, as in the event log", "one"));
    lost.chain(unknown).collect()
}
