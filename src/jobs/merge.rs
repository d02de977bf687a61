//! Merging what partitions come to into what is stored, and drawing the rows that this changes: some services at a time, each
//! in one commit.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rayon::prelude::*;
use uuid::Uuid;

use super::Installation;
use super::draw::{DrawRules, draw};
use crate::model::{Day, Instant, Reason};
use crate::rollup::{Changes, MergedService, PartitionFacts, ServiceChange, UserHistory, UserKey};
use crate::store::{
    Arrived, EncodedSpans, Redraw, RollupCommit, ServiceFacts, ServiceRows, ServiceToDraw, StoreError, StoredService,
};

/// Services go into one commit until they have one row to be drawn for so many rows of the event log that are rolled up
/// together: that bounds memory.
const ROWS_FOR_A_DRAWN_ONE: usize = 32;
/// And so many at the most: where each has a few rows, as after a day's events, what is merged then still lies near the processor
/// when it is written, and the next ones are merged meanwhile.
const SERVICES_TOGETHER: usize = 2_048;

/// What holds for all services of a rollup.
#[derive(Clone, Copy)]
pub(super) struct Merging<'a> {
    pub installation: &'a Installation,
    pub today: Day,
    pub now: Instant,
    /// What is drawn besides that which is marked.
    pub redraw: Option<&'a Redraw>,
}

/// By partition, for which services something has arrived.
pub(super) type Arrivals = HashMap<Day, Arrived>;

/// What partitions come to, by service, of which some are merged already.
pub(super) struct ToMerge {
    changes: Arc<Changes>,
    /// The services that are not new.
    known: Arc<HashMap<Uuid, StoredService>>,
    arrivals: Arc<Arrivals>,
    /// By service: the first day on which anything may change, or rows be missing.
    first_days: Vec<Day>,
    /// How many services are merged.
    merged: usize,
}

/// The facts of some services that are stored, as far as it takes to merge changes into them.
#[derive(Default)]
struct Stored {
    users: HashMap<UserKey, UserHistory>,
    spans: EncodedSpans,
}

impl Merging<'_> {
    /// Cuts what partitions come to by service.
    pub async fn changes(
        &self,
        partitions: Vec<(Day, PartitionFacts)>,
        arrivals: &Arc<Arrivals>,
    ) -> anyhow::Result<ToMerge> {
        let zone = self.installation.config.reporting.timezone;
        let local_days = move |partition| zone.days_within(partition).into_iter().map(|(_, day)| day).collect();
        let changes = self.installation.on_merge_threads(move || Changes::of(partitions, local_days)).await?;
        let services: Vec<Uuid> = changes.services().map(|change| change.service()).collect();
        let mut known = self.installation.store.stored_services(&services).await?;
        if let Some(redraw) = self.redraw {
            for (service, stored) in &mut known {
                redraw.apply(*service, stored);
            }
        }
        let first_days = changes.services().map(|change| self.first_day(&change, &known)).collect();
        let (changes, known) = (Arc::new(changes), Arc::new(known));
        Ok(ToMerge { changes, known, arrivals: arrivals.clone(), first_days, merged: 0 })
    }

    /// Puts what some services come to in the place of what they came to before, with the rows that it changes if `draws`.
    /// None where all services are merged.
    pub async fn merge_next(&self, to_merge: &mut ToMerge, draws: bool) -> anyhow::Result<Option<RollupCommit>> {
        let ToMerge { changes, known, arrivals, first_days, merged } = to_merge;
        if *merged == first_days.len() {
            return Ok(None);
        }
        let first_days = &first_days[*merged..];
        let (from, count) = (*merged, self.count_to_draw(first_days.iter().copied()));
        *merged += count;
        let first_days = &first_days[..count];
        let services: Vec<ServiceChange> = changes.services().skip(from).take(count).collect();
        let stored = self.stored(&services, first_days, known).await?;
        let rules = draws.then(|| self.rules(first_days.iter().copied().min().unwrap_or(self.today)));
        let (changes, known, arrivals) = (changes.clone(), known.clone(), arrivals.clone());
        let first_days = first_days.to_vec();
        let merge = move || {
            let unknown = StoredService::default();
            let changes: Vec<ServiceChange> = changes.services().skip(from).take(count).collect();
            let merge = |(change, first_day): (&ServiceChange, &Day)| {
                let before = known.get(&change.service()).unwrap_or(&unknown);
                merge_service(change, *first_day, before, &stored, &arrivals, rules.as_ref())
            };
            let merged = changes.par_iter().zip(&first_days).map(merge).collect::<Result<Vec<_>, StoreError>>();
            merged.map(|merged| commit(&changes, merged))
        };
        Ok(Some(self.installation.on_merge_threads(merge).await??))
    }

    /// Draws the rows of services whose facts are as they are stored.
    pub async fn draw(&self, services: Vec<ServiceToDraw>) -> anyhow::Result<RollupCommit> {
        let start = |service: &ServiceToDraw| service.totals.start(service.from);
        let from: Vec<(Uuid, Day)> = services.iter().map(|service| (service.service, start(service).span)).collect();
        let (_, spans) = self.installation.store.stored_facts(&[], &from).await?;
        let rules = self.rules(services.iter().map(|service| service.from).min().unwrap_or(self.today));
        let draw = move || {
            let draw =
                |service: &ServiceToDraw| Ok(draw(service, &start(service), &spans.of(service.service)?, &rules));
            services.par_iter().map(draw).collect::<Result<Vec<ServiceRows>, StoreError>>()
        };
        Ok(RollupCommit { rows: self.installation.on_merge_threads(draw).await??, ..RollupCommit::default() })
    }

    /// How many services are drawn together, at least one; they are drawn from these days on.
    pub fn count_to_draw(&self, from: impl Iterator<Item = Day>) -> usize {
        let mut rows = 0;
        let together = self.installation.config.rollup.rows_together / ROWS_FOR_A_DRAWN_ONE;
        let fits = |from: &Day| {
            // Its days, and a month or two.
            rows += from.through(self.today).count() + 2;
            rows <= together
        };
        from.take(SERVICES_TOGETHER).take_while(fits).count().max(1)
    }

    fn rules(&self, first: Day) -> DrawRules {
        let config = &self.installation.config;
        DrawRules::new(config.reporting.timezone, config.rollup.settle_after, first, self.today, self.now)
    }

    /// The first day on which anything of a service may change, or its rows be missing.
    fn first_day(&self, change: &ServiceChange, known: &HashMap<Uuid, StoredService>) -> Day {
        let service = change.service();
        let due = known.get(&service).and_then(|stored| ServiceToDraw::of(service, stored, self.today));
        due.map_or(change.first_day(), |due| due.from.min(change.first_day()))
    }

    /// Services that are new have nothing stored, and nothing is looked up for them.
    async fn stored(
        &self,
        changes: &[ServiceChange<'_>],
        first_days: &[Day],
        known: &HashMap<Uuid, StoredService>,
    ) -> anyhow::Result<Stored> {
        let store = &self.installation.store;
        let of_known = || {
            let known = |change: &ServiceChange| known.get(&change.service());
            changes
                .iter()
                .zip(first_days)
                .filter_map(move |(change, first_day)| Some((change, first_day, known(change)?)))
        };
        let start_of = |(change, first_day, known): (&ServiceChange, &Day, &StoredService)| {
            (change.service(), known.totals.start(*first_day).span)
        };
        let from: Vec<(Uuid, Day)> = of_known().map(start_of).collect();
        if from.is_empty() {
            return Ok(Stored::default());
        }
        let (mut recent, mut apart) = (Vec::new(), Vec::new());
        for (change, _, stored) in of_known() {
            for key @ (_, user) in change.users() {
                match stored.recent_users.get(user) {
                    Some(history) => recent.push((key, history.clone())),
                    None => apart.push(key),
                }
            }
        }
        let (mut users, spans) = store.stored_facts(&apart, &from).await?;
        users.extend(recent);
        Ok(Stored { users, spans })
    }
}

/// What must be stored of a service now, and its rows where they may change.
fn merge_service(
    change: &ServiceChange,
    first_day: Day,
    before: &StoredService,
    stored: &Stored,
    arrivals: &Arrivals,
    rules: Option<&DrawRules>,
) -> Result<(ServiceFacts, Option<ServiceRows>), StoreError> {
    let service = change.service();
    let users = change.merge_users(&stored.users);
    let start = before.totals.start(first_day);
    let merged = change.merge_spans(&users, before.totals, &start, stored.spans.of(service)?);
    let is_for = |partition| arrivals.get(&partition).is_some_and(|arrived| arrived.is_for(service));
    let reason = merged.reason(change.partitions().any(is_for));
    let rows = rules.and_then(|rules| {
        let service = to_draw(before, &merged, reason, rules.today)?;
        Some(draw(&service, &start, &merged.spans, rules))
    });
    Ok((ServiceFacts::encode(&before.recent_users, &users, &merged, reason)?, rows))
}

/// Which rows of a service must be drawn after its facts were merged.
fn to_draw(before: &StoredService, merged: &MergedService, reason: Reason, today: Day) -> Option<ServiceToDraw> {
    let dirty_from = merged.dirty.map(|(from, _)| from);
    let now = StoredService {
        totals: merged.totals,
        rows: before.rows,
        dirty_from: [before.dirty_from, dirty_from].into_iter().flatten().min(),
        dirty_reason: before.dirty_reason.max(dirty_from.map(|_| reason)),
        ..StoredService::default()
    };
    let mut to_draw = ServiceToDraw::of(merged.service, &now, today)?;
    // Behind the days that changed, rows are as they are stored, or wait for their month to be unlocked, where all were drawn.
    let all_were_drawn = before.dirty_from.is_none()
        && before.rows.is_some_and(|(_, through)| through == today)
        && before.totals.first_day == merged.totals.first_day;
    if all_were_drawn && let Some((_, through)) = merged.dirty {
        to_draw.through = through;
    }
    Some(to_draw)
}

fn commit(changes: &[ServiceChange], merged: Vec<(ServiceFacts, Option<ServiceRows>)>) -> RollupCommit {
    let patches = changes.iter().flat_map(|change| {
        change.patches().map(|(partition, patches)| ((partition, change.service()), patches.clone()))
    });
    let patches = patches.collect::<BTreeMap<_, _>>();
    let (facts, rows): (Vec<ServiceFacts>, Vec<Option<ServiceRows>>) = merged.into_iter().unzip();
    let facts = facts.into_iter().filter(ServiceFacts::has_changed).collect();
    RollupCommit { facts, patches, rows: rows.into_iter().flatten().collect() }
}
