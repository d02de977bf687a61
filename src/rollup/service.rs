//! One service's stored rows of a partition, and what they add up to.

use uuid::Uuid;

use super::across::Earlier;
use super::facts::{DayFacts, PartitionFacts, PatchEvent, ServiceDay, Uncounted, VoidMark};
use super::fold::Partition;
use super::partition::{Row, Rows};
use super::stored::Stored;
use super::users::UserDay;
use crate::model::{Day, EventType, GroupType, Instant};

/// A service that is being folded.
pub(super) struct ServiceFold<'a> {
    partition: &'a Partition<'a>,
    service: Uuid,
    voids: &'a [&'a VoidMark],
    /// What is known of earlier days.
    earlier: Option<&'a Earlier<'a>>,
    /// For each local day that the partition reaches into.
    facts: Vec<DayFacts>,
    /// By input.
    uncounted: Vec<(i64, Uncounted)>,
    user_events: Vec<UserEvent>,
    /// The `service.updated` events that count; none where there is no such event at all.
    patches: Option<Vec<PatchEvent>>,
}

/// A user event that is stored; `counts` is false where it only names the user.
struct UserEvent {
    user: u128,
    time: i64,
    /// What orders events of one instant, where they do not come in event order.
    identity: Option<(String, String)>,
    day: Day,
    event_type: EventType,
    group_type: Option<GroupType>,
    counts: bool,
}

impl<'a> ServiceFold<'a> {
    pub fn new(partition: &'a Partition<'a>, service: u128, earlier: Option<&'a Earlier<'a>>) -> Self {
        let service = Uuid::from_u128(service);
        Self {
            partition,
            service,
            voids: partition.voids_of(service),
            earlier,
            facts: vec![DayFacts::default(); partition.days.len()],
            uncounted: Vec::new(),
            user_events: Vec::new(),
            patches: None,
        }
    }

    /// Takes stored rows, which are in event order. `is_all` tells that no others follow; `last_live` is a buffer.
    pub fn take(&mut self, rows: &Rows, stored: &Stored, is_all: bool, last_live: &mut Vec<u32>) {
        for row in &stored.copies {
            self.uncounted(&rows.all[*row as usize]).duplicate += 1;
        }
        let voided: Vec<bool> = match self.voids {
            [] => Vec::new(),
            _ => stored.rows.iter().map(|row| self.is_voided(rows, &rows.all[*row as usize])).collect(),
        };
        let is_voided = |index: usize| voided.get(index).copied().unwrap_or(false);
        let window = self.partition.rules.identity_window;
        let before = |row: &Row| self.earlier.and_then(|earlier| earlier.last_live(rows, row));
        let conflicting = conflicting(rows, &stored.rows, is_voided, before, window, last_live);
        let mut conflicting = conflicting.into_iter().peekable();
        for (index, number) in stored.rows.iter().enumerate() {
            let row = &rows.all[*number as usize];
            let is_voided = is_voided(index);
            let conflicts = conflicting.next_if_eq(&index).is_some() && !is_voided;
            if is_voided {
                self.uncounted(row).voided += 1;
            } else if conflicts {
                self.uncounted(row).conflicting += 1;
            }
            let counts = !is_voided && !conflicts;
            let day = self.local_day(row.time);
            if counts && row.event_type.creates_rows() {
                count(&mut self.facts[day], row);
            }
            if row.event_type.changes_users() {
                self.user_events.push(UserEvent {
                    user: row.user,
                    time: row.time,
                    identity: (!is_all).then(|| (rows.source(row).to_owned(), rows.id(row))),
                    day: self.partition.days[day].1,
                    event_type: row.event_type,
                    group_type: row.group_type,
                    counts,
                });
            }
            if row.event_type == EventType::ServiceUpdated {
                self.patch(rows, *number as usize, counts);
            }
        }
    }

    /// Whether others of its identity conflict with it.
    pub fn is_live(&self, rows: &Rows, row: &Row) -> bool {
        row.event_type != EventType::EventVoided && !self.is_voided(rows, row)
    }

    /// A void can't be voided; anything else is, where a void names its identity and instant.
    fn is_voided(&self, rows: &Rows, row: &Row) -> bool {
        let names = |mark: &&VoidMark| {
            mark.time.nanos() == row.time && mark.source == rows.source(row) && mark.id == rows.id(row)
        };
        row.event_type != EventType::EventVoided && self.voids.iter().any(names)
    }

    fn patch(&mut self, rows: &Rows, row: usize, counts: bool) {
        let patches = self.patches.get_or_insert_default();
        if let (true, Some(patch)) = (counts, rows.patch(row)) {
            let row = &rows.all[row];
            patches.push(PatchEvent {
                time: Instant::from_nanos(row.time),
                source: rows.source(row).to_owned(),
                id: rows.id(row),
                patch: patch.to_owned(),
            });
        }
    }

    fn uncounted(&mut self, row: &Row) -> &mut Uncounted {
        let at = match self.uncounted.binary_search_by_key(&row.input, |(input, _)| *input) {
            Ok(at) => at,
            Err(at) => {
                self.uncounted.insert(at, (row.input, Uncounted::default()));
                at
            }
        };
        &mut self.uncounted[at].1
    }

    /// The local day of an instant, as its place among the partition's.
    fn local_day(&self, time: i64) -> usize {
        let days = &self.partition.days;
        if days.len() == 1 {
            return 0;
        }
        days.partition_point(|(start, _)| start.nanos() <= time).max(1) - 1
    }

    /// Adds what the service came to.
    pub fn finish(mut self, facts: &mut PartitionFacts) {
        let partition = self.partition.day;
        let mut uncounted = Some(self.uncounted);
        let days = self.partition.days.iter().map(|(_, day)| *day).zip(self.facts);
        let first = facts.services.len();
        for (day, of_day) in days.filter(|(_, of_day)| of_day.events > 0) {
            let uncounted = uncounted.take().unwrap_or_default();
            facts.services.push((self.service, ServiceDay { day, partition, facts: of_day, uncounted }));
        }
        if facts.services.len() == first {
            let (day, uncounted) = (self.partition.days[0].1, uncounted.unwrap_or_default());
            facts.services.push((self.service, ServiceDay { day, partition, facts: DayFacts::default(), uncounted }));
        }
        if let Some(mut patches) = self.patches {
            patches.sort_by(|a, b| (a.time, &a.source, &a.id).cmp(&(b.time, &b.source, &b.id)));
            facts.patches.insert(self.service, patches);
        }
        // Stable, so that events which come in event order stay so, and those which tie in identity and time too.
        self.user_events.sort_by(|a, b| (a.user, a.time, &a.identity).cmp(&(b.user, b.time, &b.identity)));
        for events in self.user_events.chunk_by(|a, b| a.user == b.user) {
            push_user_days(partition, (self.service, Uuid::from_u128(events[0].user)), events, facts);
        }
    }
}

/// What a user's events leave behind at the end of each local day.
fn push_user_days(partition: Day, key: (Uuid, Uuid), events: &[UserEvent], facts: &mut PartitionFacts) {
    let mut counted = events.iter().filter(|event| event.counts).peekable();
    if counted.peek().is_none() {
        facts.users.push((key, None));
    }
    while let Some(first) = counted.next() {
        let mut day = UserDay::new(partition, first.day);
        day.take(first.event_type, first.group_type);
        while let Some(event) = counted.next_if(|event| event.day == first.day) {
            day.take(event.event_type, event.group_type);
        }
        facts.users.push((key, Some(day)));
    }
}

fn count(facts: &mut DayFacts, row: &Row) {
    facts.events += 1;
    facts.digest += row.identity;
    match row.event_type {
        EventType::MessageSent => {
            facts.messages += 1;
            facts.attachments += row.count;
            facts.storage += row.bytes;
        }
        EventType::AttachmentPurged => facts.storage -= row.bytes,
        EventType::FeatureUsed => {
            let feature = row.feature.expect("a use names its feature");
            facts.features[feature as usize] += u128::from(row.count);
        }
        _ => {}
    }
}

/// Which stored rows of a service a live event of their identity precedes within the window, in order. Live is what is
/// neither voided nor a void; whether it counts itself doesn't matter, and so only the last one does. `before` tells when that
/// was on an earlier day.
///
/// `last_live` becomes an open hash table of the last live event of each identity: its place in `stored`, and one more.
fn conflicting(
    rows: &Rows,
    stored: &[u32],
    is_voided: impl Fn(usize) -> bool,
    before: impl Fn(&Row) -> Option<i64>,
    window: i64,
    last_live: &mut Vec<u32>,
) -> Vec<usize> {
    let slots = (stored.len() * 2).next_power_of_two();
    last_live.clear();
    last_live.resize(slots, 0);
    let mut conflicting = Vec::new();
    for (index, number) in stored.iter().enumerate() {
        let row = &rows.all[*number as usize];
        let row_of = |place: u32| &rows.all[stored[place as usize - 1] as usize];
        let mut slot = usize::try_from(row.identity.0 & (slots as u128 - 1)).expect("less than the number of slots");
        while last_live[slot] != 0
            && (row_of(last_live[slot]).identity != row.identity
                || rows.compare_identity(row_of(last_live[slot]), row).is_ne())
        {
            slot = (slot + 1) % slots;
        }
        let last = if last_live[slot] == 0 { before(row) } else { Some(row_of(last_live[slot]).time) };
        if last.is_some_and(|last| row.time.saturating_sub(last) <= window) {
            conflicting.push(index);
        }
        if row.event_type != EventType::EventVoided && !is_voided(index) {
            last_live[slot] = u32::try_from(index + 1).expect("a pass holds fewer than 2^32 rows");
        }
    }
    conflicting
}
