//! Facts: what a partition's events amount to. Day facts are a commutative monoid, so it doesn't matter in which order or
//! in how many parts events are folded.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::ops::{AddAssign, Range};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::users::UserDay;
use crate::event_log::{Segment, SegmentPartition};
use crate::model::{Day, Event, FEATURES, IdentityHash, Instant};

/// What the events that count on one day add up to. Exact: nothing is cut to 63 bits here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayFacts {
    /// The events that count; all types but `service.updated` and `event.voided`.
    pub events: u64,
    pub digest: IdentityHash,
    pub messages: u64,
    pub attachments: u64,
    /// Quantities, in the order of [`crate::model::Feature`].
    pub features: [u128; FEATURES],
    /// Bytes attached less bytes purged.
    pub storage: i128,
}

impl AddAssign<&Self> for DayFacts {
    fn add_assign(&mut self, other: &Self) {
        self.events += other.events;
        self.digest += other.digest;
        self.messages += other.messages;
        self.attachments += other.attachments;
        for (sum, more) in self.features.iter_mut().zip(other.features) {
            *sum += more;
        }
        self.storage += other.storage;
    }
}

/// The facts of a service on one day of the reporting zone, as far as they lie in one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceDay {
    pub day: Day,
    pub partition: Day,
    pub facts: DayFacts,
    /// By input, sorted: the lines of that service and partition which are not counted; none where there are none. They
    /// stand on the service's first day of the partition.
    pub uncounted: Vec<(i64, Uncounted)>,
}

impl ServiceDay {
    /// Whether it says nothing, and need not be kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.uncounted.is_empty() && self.facts == DayFacts::default()
    }
}

/// In which order contents come that share identity and time, and were masked, by [`crate::model::content_key`].
pub type ContentOrders = HashMap<[u8; 32], u32>;

/// One partition to recompute.
pub struct PartitionTask {
    pub day: Day,
    /// The segments that hold rows of the day, with the rows that do.
    pub slices: Vec<(Segment, SegmentPartition)>,
    /// The voids that aim at instants of the day, wherever they stand themselves.
    pub voids: Vec<VoidMark>,
    pub orders: ContentOrders,
    /// The services to recompute, sorted; the whole partition where none are named.
    pub services: Option<Vec<Uuid>>,
}

/// Everything that a partition comes to, or of it what the services come to that were to be recomputed. It names every
/// service and every user that any stored event of them names, also where nothing counts, so that what was there before
/// can be replaced without looking for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionFacts {
    /// Sorted by service and day. A service of which nothing counts has one day with empty facts.
    pub services: Vec<(Uuid, ServiceDay)>,
    /// Sorted by service, user and day; none for a user none of whose events count any more. All their services are in
    /// `services`.
    pub users: Vec<((Uuid, Uuid), Option<UserDay>)>,
    /// The `service.updated` events that count, in event order; empty where none do any more.
    pub patches: BTreeMap<Uuid, Vec<PatchEvent>>,
}

impl PartitionFacts {
    /// Adds the facts of services behind those that are here.
    pub fn append(&mut self, mut behind: Self) {
        self.services.append(&mut behind.services);
        self.users.append(&mut behind.users);
        self.patches.append(&mut behind.patches);
    }

    /// Puts what a service comes to in the place of what it came to.
    pub(super) fn replace(&mut self, service: Uuid, facts: Self) {
        let of_service = place_of(&self.services, |(of, _)| of.cmp(&service));
        self.services.splice(of_service, facts.services);
        let of_users = place_of(&self.users, |((of, _), _)| of.cmp(&service));
        self.users.splice(of_users, facts.users);
        self.patches.remove(&service);
        self.patches.extend(facts.patches);
    }
}

/// Where those of sorted items stand, or would stand, that compare as equal.
fn place_of<T>(items: &[T], compare: impl Fn(&T) -> Ordering) -> Range<usize> {
    items.partition_point(|item| compare(item).is_lt())..items.partition_point(|item| compare(item).is_le())
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchEvent {
    pub time: Instant,
    pub source: String,
    pub id: String,
    pub patch: String,
}

/// Accepted lines that are not counted: copies, and of what is stored the voided and the conflicting ones (`spec/events.md`,
/// What happens to each input line).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uncounted {
    pub duplicate: u64,
    pub voided: u64,
    pub conflicting: u64,
}

/// That whatever is stored under this identity at this instant is taken back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VoidMark {
    pub service: Uuid,
    pub time: Instant,
    pub source: String,
    pub id: String,
}

impl VoidMark {
    /// What an event takes back, if it is a void.
    #[must_use]
    pub fn of(event: &Event<'_>) -> Option<Self> {
        let target = event.data.voided.as_ref()?;
        Some(Self {
            service: event.service,
            time: target.time,
            source: target.source.clone().into_owned(),
            id: target.id.clone().into_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn facts() -> impl Strategy<Value = DayFacts> {
        (0..9_u64, any::<u128>(), 0..9_u64, 0..9_u64, any::<[u64; FEATURES]>(), any::<i64>()).prop_map(
            |(events, digest, messages, attachments, features, storage)| DayFacts {
                events,
                digest: IdentityHash(digest),
                messages,
                attachments,
                features: features.map(u128::from),
                storage: storage.into(),
            },
        )
    }

    fn sum(parts: &[DayFacts]) -> DayFacts {
        let mut sum = DayFacts::default();
        for part in parts {
            sum += part;
        }
        sum
    }

    proptest! {
        #[test]
        fn facts_are_a_commutative_monoid(a in facts(), b in facts(), c in facts()) {
            let (mut left, mut right) = (sum(&[a, b]), a);
            left += &c;
            right += &sum(&[b, c]);
            prop_assert_eq!(left, right);
            prop_assert_eq!(sum(&[a, b]), sum(&[b, a]));
            prop_assert_eq!(sum(&[a, DayFacts::default()]), a);
        }
    }
}
