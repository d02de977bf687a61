//! Restatements: how rows changed after they were closed, when and why.

use std::pin::pin;

use futures_util::StreamExt as _;
use uuid::Uuid;

use crate::model::{Day, Numbers, PeriodType};
use crate::store::{Replaced, Store, StoreError, Version, VersionFilter};

/// One change of a row that was closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restatement {
    pub service: Uuid,
    pub period_type: PeriodType,
    pub period: Day,
    /// Revisions and numbers before and after; no numbers where there was no row.
    pub before: (i64, Option<Numbers>),
    pub after: (i64, Option<Numbers>),
    pub replaced: Replaced,
}

/// A number that changed, by its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldChange {
    pub field: &'static str,
    pub before: Option<i64>,
    pub after: Option<i64>,
}

impl Restatement {
    /// Whether the row was not there before, or is not after.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match (&self.before.1, &self.after.1) {
            (None, _) => "appeared",
            (_, None) => "vanished",
            _ => "changed",
        }
    }

    /// The numbers that changed; of a row that appeared or vanished those that are not 0.
    #[must_use]
    pub fn fields(&self) -> Vec<FieldChange> {
        changes(self.before.1.as_ref(), self.after.1.as_ref())
    }
}

/// How numbers differ, where no row has none.
#[must_use]
pub fn changes(before: Option<&Numbers>, after: Option<&Numbers>) -> Vec<FieldChange> {
    let number = |numbers: Option<&Numbers>, place: usize| numbers.map(|numbers| numbers.0[place]);
    let change = |(place, field): (usize, &'static str)| FieldChange {
        field,
        before: number(before, place),
        after: number(after, place),
    };
    let all = Numbers::COLUMNS.into_iter().enumerate().map(change);
    all.filter(|change| change.before.unwrap_or_default() != change.after.unwrap_or_default()).collect()
}

/// Hands over the restatements of a filter, by service, period type and period, and each row's in order.
///
/// # Errors
/// When the store fails, or `take` does.
pub async fn restatements<E: From<StoreError>>(
    store: &Store,
    filter: &VersionFilter,
    mut take: impl FnMut(Restatement) -> Result<(), E>,
) -> Result<(), E> {
    let mut versions = pin!(store.versions(filter));
    let mut before: Option<Version> = None;
    loop {
        let next = versions.next().await.transpose()?;
        if let Some(version) = before.take() {
            restated(version, next.as_ref()).map_or(Ok(()), &mut take)?;
        }
        if next.is_none() {
            return Ok(());
        }
        before = next;
    }
}

/// How a version ended: in the next one of its row, or in none.
fn restated(version: Version, next: Option<&Version>) -> Option<Restatement> {
    let Version { service, period_type, period, numbers, revision, replaced } = version;
    let key = |of: &Version| (of.service, of.period_type, of.period);
    let after = match next.filter(|next| key(next) == (service, period_type, period)) {
        Some(next) => (next.revision, next.numbers),
        None => (revision + 1, None),
    };
    // A row that went before it was closed left nothing.
    let is_told = numbers.is_some() || after.1.is_some();
    let restatement =
        Restatement { service, period_type, period, before: (revision, numbers), after, replaced: replaced? };
    is_told.then_some(restatement)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Instant, Reason};

    fn version(revision: i64, messages: Option<i64>, ended: bool) -> Version {
        let mut numbers = Numbers::default();
        numbers.0[10] = messages.unwrap_or_default();
        Version {
            service: Uuid::nil(),
            period_type: PeriodType::Daily,
            period: Day(20_000),
            numbers: messages.map(|_| numbers),
            revision,
            replaced: ended.then(|| Replaced { at: Instant::from_nanos(0), reason: Reason::Late, run: 1, job: None }),
        }
    }

    #[test]
    fn a_version_ends_in_the_next_one_of_its_row_or_in_none() {
        let told = |version, next: Option<&Version>| {
            let restated = restated(version, next)?;
            let fields = restated.fields().into_iter().map(|of| (of.field, of.before, of.after)).collect::<Vec<_>>();
            Some((restated.kind(), restated.after.0, fields))
        };
        let messages = |before, after| vec![("total_message_count", before, after)];
        let next = version(2, Some(5), false);
        assert_eq!(told(version(1, Some(3), true), Some(&next)), Some(("changed", 2, messages(Some(3), Some(5)))));
        assert_eq!(told(version(0, None, true), Some(&next)), Some(("appeared", 2, messages(None, Some(5)))));
        assert_eq!(told(version(1, Some(3), true), None), Some(("vanished", 2, messages(Some(3), None))));
        let other = Version { period: Day(20_001), ..version(1, Some(9), false) };
        assert_eq!(told(version(1, Some(3), true), Some(&other)).map(|told| told.0), Some("vanished"));
        assert_eq!(told(version(0, None, true), None), None);
        assert_eq!(told(version(2, Some(5), false), None), None, "it stands");
    }
}
