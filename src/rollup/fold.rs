//! From a partition's rows to its facts: copies are dropped, voided and conflicting events set aside, the rest counted
//! (`spec/events.md`, Identity, order, day).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use foldhash::fast::FixedState;
use uuid::Uuid;

use super::contents::Contents;
use super::facts::{DayFacts, PartitionFacts, PartitionTask, PatchEvent, ServiceDay, Uncounted, VoidMark};
use super::partition::{Pass, Row, Rows, Slice};
use super::users::UserDay;
use crate::event_log::{EventLogError, Segment, SegmentPartition, SegmentReader};
use crate::model::{Day, EventType, GroupType, Instant, Zone};

/// What holds for every partition.
#[derive(Clone, Copy, Debug)]
pub struct FoldRules {
    pub zone: Zone,
    /// In nanoseconds, both ends included (`ingest.identity_window`).
    pub identity_window: i64,
    /// A partition with more rows is folded in several passes, to bound memory.
    pub rows_per_pass: u64,
}

/// By service and input.
type UncountedLines = BTreeMap<(u128, i64), Uncounted>;

/// Recomputes a partition from the event log.
///
/// # Errors
/// When a segment can't be read or is damaged.
pub fn fold_partition(
    task: &PartitionTask,
    reader: &SegmentReader,
    rules: &FoldRules,
) -> Result<PartitionFacts, EventLogError> {
    let open = |(segment, partition): &(Segment, SegmentPartition)| {
        Ok(Slice { segment: reader.open(segment)?, partition: *partition })
    };
    let slices = task.slices.iter().map(open).collect::<Result<Vec<Slice>, EventLogError>>()?;
    let rows: u64 = task.slices.iter().map(|(_, partition)| partition.rows).sum();
    let passes = rows.div_ceil(rules.rows_per_pass).max(1);
    let mut fold = Fold::new(task, rules);
    for number in 0..passes {
        let rows = Rows::load(&slices, Pass { number, of: passes })?;
        let stored = stored_rows(&rows, &slices, &mut fold.inputs)?;
        let wanted = |stored: &&Vec<usize>| {
            let service = stored.first().map(|row| Uuid::from_u128(rows.all[*row].service));
            service.is_some_and(|it| task.services.as_ref().is_none_or(|services| services.binary_search(&it).is_ok()))
        };
        for service in stored.iter().filter(wanted) {
            fold.service(&rows, service);
        }
    }
    Ok(fold.finish())
}

/// Drops the copies: gives the stored rows of each service, in event order, and counts the copies to the inputs that they
/// came in. Of several copies the first to arrive is the stored one.
fn stored_rows(rows: &Rows, slices: &[Slice], inputs: &mut UncountedLines) -> Result<Vec<Vec<usize>>, EventLogError> {
    let same = |a: &Row, b: &Row| a.time == b.time && rows.compare_identity(a, b).is_eq();
    let mut services: Vec<Vec<usize>> = Vec::new();
    let mut tied: Vec<Range<usize>> = Vec::new();
    for service in rows.services() {
        let mut start = service.start;
        let mut firsts = Vec::with_capacity(service.len());
        for group in rows.all[service].chunk_by(same) {
            firsts.push(start);
            if group.len() > 1 {
                tied.push(start..start + group.len());
            }
            start += group.len();
        }
        services.push(firsts);
    }
    // Where all but one row repeat the row before them, which stands in the same group, no content has to be read.
    let (unlike, copies): (Vec<Range<usize>>, Vec<Range<usize>>) =
        tied.into_iter().partition(|group| rows.all[group.clone()].iter().filter(|row| !row.is_copy).count() > 1);
    for row in copies.into_iter().flat_map(|group| group.skip(1)) {
        inputs.entry((rows.all[row].service, rows.all[row].input)).or_default().duplicate += 1;
    }
    if unlike.is_empty() {
        return Ok(services);
    }
    let distinct = distinct_contents(rows, slices, &unlike, inputs)?;
    for service in &mut services {
        *service =
            service.iter().flat_map(|first| distinct.get(first).cloned().unwrap_or_else(|| vec![*first])).collect();
    }
    Ok(services)
}

/// For each group of rows with one identity and time, by the group's first row: one row a content, in order of content.
fn distinct_contents(
    rows: &Rows,
    slices: &[Slice],
    tied: &[Range<usize>],
    inputs: &mut UncountedLines,
) -> Result<HashMap<usize, Vec<usize>>, EventLogError> {
    let all = || tied.iter().cloned().flatten();
    let hashes = Contents::read(slices, all().map(|row| &rows.all[row]), |content| blake3::hash(content.as_bytes()))?;
    let mut distinct = HashMap::with_capacity(tied.len());
    for group in tied {
        let mut seen: Vec<usize> = Vec::with_capacity(1);
        for row in group.clone() {
            let hash = hashes.of(&rows.all[row]);
            if seen.iter().any(|other| hashes.of(&rows.all[*other]) == hash) {
                inputs.entry((rows.all[row].service, rows.all[row].input)).or_default().duplicate += 1;
            } else {
                seen.push(row);
            }
        }
        distinct.insert(group.start, seen);
    }
    let several = || distinct.values().filter(|rows| rows.len() > 1);
    let contents = Contents::read(slices, several().flatten().map(|row| &rows.all[*row]), |content| content)?;
    for group in distinct.values_mut().filter(|rows| rows.len() > 1) {
        group.sort_by(|a, b| contents.of(&rows.all[*a]).cmp(contents.of(&rows.all[*b])));
    }
    Ok(distinct)
}

/// A user event that is stored; `counts` is false where it only names the user.
struct UserEvent {
    service: Uuid,
    user: Uuid,
    time: i64,
    source: Box<str>,
    id: Box<str>,
    day: Day,
    event_type: EventType,
    group_type: Option<GroupType>,
    counts: bool,
}

struct Fold<'a> {
    partition: Day,
    rules: &'a FoldRules,
    /// The local days that the partition reaches into, with their first instants.
    days: Vec<(Instant, Day)>,
    voids: HashSet<(Uuid, i64, &'a str, &'a str)>,
    facts: BTreeMap<Uuid, BTreeMap<Day, DayFacts>>,
    user_events: Vec<UserEvent>,
    patches: BTreeMap<Uuid, Vec<PatchEvent>>,
    inputs: UncountedLines,
}

impl<'a> Fold<'a> {
    fn new(task: &'a PartitionTask, rules: &'a FoldRules) -> Self {
        let target = |mark: &'a VoidMark| (mark.service, mark.time.nanos(), mark.source.as_str(), mark.id.as_str());
        Self {
            partition: task.day,
            rules,
            days: rules.zone.days_within(task.day),
            voids: task.voids.iter().map(target).collect(),
            facts: BTreeMap::new(),
            user_events: Vec::new(),
            patches: BTreeMap::new(),
            inputs: BTreeMap::new(),
        }
    }

    /// Folds the stored rows of one service, which come in event order.
    fn service(&mut self, rows: &Rows, stored: &[usize]) {
        let Some(first) = stored.first() else { return };
        let service = Uuid::from_u128(rows.all[*first].service);
        let mut facts = self.facts.remove(&service).unwrap_or_default();
        let voided: Vec<bool> = stored.iter().map(|row| self.is_voided(rows, service, &rows.all[*row])).collect();
        let conflicting = conflicting(rows, stored, &voided, self.rules.identity_window);
        for (index, row) in stored.iter().enumerate() {
            let row = &rows.all[*row];
            let conflicts = !voided[index] && conflicting.contains(&index);
            if voided[index] || conflicts {
                let uncounted = self.inputs.entry((row.service, row.input)).or_default();
                uncounted.voided += u64::from(voided[index]);
                uncounted.conflicting += u64::from(conflicts);
            }
            let counts = !voided[index] && !conflicts;
            self.event(rows, service, row, counts);
            if counts && row.event_type.creates_rows() {
                count(facts.entry(self.local_day(row.time)).or_default(), row);
            }
        }
        self.facts.insert(service, facts);
    }

    /// A void can't be voided; anything else is, where a void names its identity and instant.
    fn is_voided(&self, rows: &Rows, service: Uuid, row: &Row) -> bool {
        row.event_type != EventType::EventVoided
            && !self.voids.is_empty()
            && self.voids.contains(&(service, row.time, rows.source(row), rows.id(row)))
    }

    fn event(&mut self, rows: &Rows, service: Uuid, row: &Row, counts: bool) {
        let day = self.local_day(row.time);
        if row.event_type.changes_users() {
            self.user_events.push(UserEvent {
                service,
                user: Uuid::from_u128(row.user),
                time: row.time,
                source: rows.source(row).into(),
                id: rows.id(row).into(),
                day,
                event_type: row.event_type,
                group_type: row.group_type,
                counts,
            });
        }
        if row.event_type == EventType::ServiceUpdated {
            let patches = self.patches.entry(service).or_default();
            if let (true, Some(patch)) = (counts, rows.patch(row)) {
                patches.push(PatchEvent {
                    time: Instant::from_nanos(row.time),
                    source: rows.source(row).to_owned(),
                    id: rows.id(row).to_owned(),
                    patch: patch.to_owned(),
                });
            }
        }
    }

    fn local_day(&self, time: i64) -> Day {
        let after = self.days.partition_point(|(start, _)| start.nanos() <= time);
        self.days[after.max(1) - 1].1
    }

    fn finish(mut self) -> PartitionFacts {
        let partition = self.partition;
        let users = users(partition, &mut self.user_events);
        let mut services: Vec<(Uuid, ServiceDay)> = Vec::with_capacity(self.facts.len());
        for (service, mut facts) in self.facts {
            let of_service = (service.as_u128(), i64::MIN)..=(service.as_u128(), i64::MAX);
            let mut uncounted: Vec<(i64, Uncounted)> =
                self.inputs.range(of_service).map(|((_, input), lines)| (*input, *lines)).collect();
            if facts.is_empty() {
                facts.insert(self.days[0].1, DayFacts::default());
            }
            services.extend(facts.into_iter().map(|(day, facts)| {
                (service, ServiceDay { day, partition, facts, uncounted: std::mem::take(&mut uncounted) })
            }));
        }
        for patches in self.patches.values_mut() {
            patches.sort_by(|a, b| (a.time, &a.source, &a.id).cmp(&(b.time, &b.source, &b.id)));
        }
        PartitionFacts { services, users, patches: self.patches }
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

/// Which stored rows of a service a live event of their identity precedes within the window. Live is what is neither
/// voided nor a void; whether it counts itself doesn't matter.
fn conflicting(rows: &Rows, stored: &[usize], voided: &[bool], window: i64) -> HashSet<usize> {
    // 128 bits of BLAKE3 stand for the identity: nobody can make two identities meet.
    let mut last_live: HashMap<u128, i64, FixedState> =
        HashMap::with_capacity_and_hasher(stored.len(), FixedState::default());
    let mut conflicting = HashSet::new();
    for (index, row) in stored.iter().enumerate() {
        let row = &rows.all[*row];
        let live_before = last_live.get(&row.identity.0);
        if live_before.is_some_and(|time| row.time.saturating_sub(*time) <= window) {
            conflicting.insert(index);
        }
        if !voided[index] && row.event_type != EventType::EventVoided {
            last_live.insert(row.identity.0, row.time);
        }
    }
    conflicting
}

/// What each user's events leave behind at the end of each local day.
fn users(partition: Day, events: &mut [UserEvent]) -> Vec<((Uuid, Uuid), Option<UserDay>)> {
    // Stable, so that events which tie in identity and time stay in order of content: they come from the same pass.
    events.sort_by(|a, b| {
        (a.service, a.user, a.time, &a.source, &a.id).cmp(&(b.service, b.user, b.time, &b.source, &b.id))
    });
    let mut users: Vec<((Uuid, Uuid), Option<UserDay>)> = Vec::new();
    for events in events.chunk_by(|a, b| (a.service, a.user) == (b.service, b.user)) {
        let user = (events[0].service, events[0].user);
        let counting = events.iter().filter(|event| event.counts);
        let mut days: Vec<UserDay> = Vec::with_capacity(1);
        for event in counting {
            if days.last().is_none_or(|day| day.day != event.day) {
                days.push(UserDay::new(partition, event.day));
            }
            if let Some(day) = days.last_mut() {
                day.take(event.event_type, event.group_type);
            }
        }
        if days.is_empty() {
            users.push((user, None));
        }
        users.extend(days.into_iter().map(|day| (user, Some(day))));
    }
    users
}
