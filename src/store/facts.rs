//! Facts: users' histories, services' spans and totals, how far their rows reach, and where the lines of each input ended.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use uuid::Uuid;

use super::db::{Answer, Column, Found, Insert, Lookup, Transaction};
use super::{Result, Store, decode, encode, encode_through};
use crate::model::{Day, Reason};
use crate::rollup::{MergedService, MergedUsers, RecentUsers, ServiceTotals, SpanFacts, UserHistory, UserKey};

/// Keys are looked up so many at a time: few enough that an answer lies near the processor.
const KEYS_AT_A_TIME: usize = 500;

/// What a span's facts take, or less.
const LIKELY_FACTS: usize = 1_024;

/// What is stored of a service as a whole.
#[derive(Clone, Debug, Default)]
pub struct StoredService {
    pub totals: ServiceTotals,
    /// The first and the last day that have a row.
    pub rows: Option<(Day, Day)>,
    /// The first day whose rows must be drawn anew, whatever changes.
    pub dirty_from: Option<Day>,
    /// Why, where that is more than a backfill.
    pub dirty_reason: Option<Reason>,
    /// What stands before the histories in `users`.
    pub recent_users: RecentUsers,
}

impl StoredService {
    pub(super) const COLUMNS: [Column; 9] = [
        Column::Guid("service_guid"),
        Column::Day("first_day"),
        Column::Day("rows_from"),
        Column::Day("rows_through"),
        Column::Day("dirty_from"),
        Column::Number("dirty_reason"),
        Column::Encoded("held"),
        Column::Encoded("newest_span"),
        Column::Encoded("recent_users"),
    ];

    /// A service and what is stored of it, from these columns.
    fn found(row: &mut Found) -> Result<(Uuid, Self)> {
        let service = row.guid()?;
        let [first_day, rows_from, rows_through, dirty_from] = [row.day()?, row.day()?, row.day()?, row.day()?];
        let dirty_reason = row.number()?.and_then(Reason::from_strength);
        let totals = ServiceTotals { first_day, held: row.decoded()?, newest: row.decoded()? };
        let (rows, recent_users) = (rows_from.zip(rows_through), row.decoded()?);
        Ok((service, Self { totals, rows, dirty_from, dirty_reason, recent_users }))
    }

    /// All that an answer holds, in its order.
    pub(super) fn all_found(answer: &Answer) -> Result<Vec<(Uuid, Self)>> {
        let (mut rows, mut services) = (answer.rows(), Vec::new());
        while rows.next() {
            services.push(Self::found(&mut rows)?);
        }
        Ok(services)
    }
}

/// A service's facts as they are stored, where they changed. None stands for what holds nothing any more.
#[derive(Debug)]
pub struct ServiceFacts {
    service: Uuid,
    has_changed: bool,
    /// Those that are kept by themselves.
    users: Vec<(Uuid, Option<Vec<u8>>)>,
    recent_users: Vec<u8>,
    spans: Vec<(Day, Option<Vec<u8>>)>,
    first_day: Option<Day>,
    held: Vec<u8>,
    newest_span: Vec<u8>,
    dirty_from: Option<Day>,
    reason: Reason,
    uncounted: BTreeMap<i64, [i64; 3]>,
}

impl ServiceFacts {
    /// `recent` is what the service had before.
    ///
    /// # Errors
    /// When something can't be encoded.
    pub fn encode(recent: &RecentUsers, users: &MergedUsers, merged: &MergedService, reason: Reason) -> Result<Self> {
        let (recent, apart) = recent.with(&users.histories, merged.totals.held.users.iter().sum());
        let mut buffer = Vec::with_capacity(LIKELY_FACTS);
        let user = |(user, history): &(Uuid, UserHistory)| {
            Ok((*user, if history.is_empty() { None } else { Some(encode(history)?) }))
        };
        let span = |span: &Day| {
            let facts = merged.spans.get(span).filter(|facts| !facts.is_empty());
            Ok((*span, facts.map(|facts| encode_through(&mut buffer, facts)).transpose()?))
        };
        Ok(Self {
            service: merged.service,
            has_changed: !(users.histories.is_empty() && merged.changed.is_empty()),
            users: apart.iter().map(user).collect::<Result<_>>()?,
            recent_users: encode(&recent)?,
            spans: merged.changed.iter().map(span).collect::<Result<_>>()?,
            held: encode(&merged.totals.held)?,
            newest_span: encode(&merged.totals.newest)?,
            first_day: merged.totals.first_day,
            dirty_from: merged.dirty.map(|(from, _)| from),
            reason,
            uncounted: merged.uncounted.clone(),
        })
    }

    #[must_use]
    pub(super) fn service(&self) -> Uuid {
        self.service
    }

    /// Whether there is anything to store.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.has_changed
    }
}

/// Spans' facts as they are stored. Decoded they take several times as much, so that is done service by service.
#[derive(Debug, Default)]
pub struct EncodedSpans {
    facts: Vec<u8>,
    /// Where a span's facts are in there.
    places: BTreeMap<(Uuid, Day), Range<usize>>,
}

impl EncodedSpans {
    fn add(&mut self, service: Uuid, span: Day, facts: &[u8]) {
        let from = self.facts.len();
        self.facts.extend_from_slice(facts);
        self.places.insert((service, span), from..self.facts.len());
    }

    /// What is here of a service, by span.
    ///
    /// # Errors
    /// When the database holds something else.
    pub fn of(&self, service: Uuid) -> Result<BTreeMap<Day, SpanFacts>> {
        let all = self.places.range((service, Day(i32::MIN))..=(service, Day(i32::MAX)));
        all.map(|((_, span), at)| Ok((*span, decode(&self.facts[at.clone()])?))).collect()
    }
}

impl Store {
    /// Those of these services that are known. Of the others nothing is stored.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn stored_services(&self, services: &[Uuid]) -> Result<HashMap<Uuid, StoredService>> {
        static SERVICES: Lookup = Lookup::new(&StoredService::COLUMNS, "service_progress", &["service_guid"], "");
        let mut reading = self.db.writer.begin_to_read().await?;
        let mut stored = HashMap::with_capacity(services.len());
        for keys in services.chunks(KEYS_AT_A_TIME) {
            stored.extend(StoredService::all_found(&reading.look_up(&SERVICES, keys).answer().await?)?);
        }
        reading.commit().await?;
        Ok(stored)
    }

    /// The histories of those of these users that have one by itself, and the facts of all spans of these services, from each
    /// one's span on.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn stored_facts(
        &self,
        users: &[UserKey],
        spans_from: &[(Uuid, Day)],
    ) -> Result<(HashMap<UserKey, UserHistory>, EncodedSpans)> {
        let mut reading = self.db.writer.begin_to_read().await?;
        let histories = histories_of(&mut reading, users).await?;
        let spans = spans_of(&mut reading, spans_from).await?;
        reading.commit().await?;
        Ok((histories, spans))
    }
}

async fn histories_of(reading: &mut Transaction, users: &[UserKey]) -> Result<HashMap<UserKey, UserHistory>> {
    static HISTORIES: Lookup = Lookup::new(
        &[Column::Guid("service_guid"), Column::Guid("user_guid"), Column::Encoded("history")],
        "users",
        &["service_guid", "user_guid"],
        "",
    );
    let mut histories = HashMap::with_capacity(users.len());
    for keys in users.chunks(KEYS_AT_A_TIME) {
        let guids: Vec<Uuid> = keys.iter().flat_map(|(service, user)| [*service, *user]).collect();
        let found = reading.look_up(&HISTORIES, &guids).answer().await?;
        let mut rows = found.rows();
        while rows.next() {
            histories.insert((rows.guid()?, rows.guid()?), rows.decoded()?);
        }
    }
    Ok(histories)
}

async fn spans_of(reading: &mut Transaction, services: &[(Uuid, Day)]) -> Result<EncodedSpans> {
    static FACTS: Lookup = Lookup::new(
        &[Column::Guid("service_guid"), Column::Bytes("facts")],
        "service_spans",
        &["service_guid"],
        "span = $2",
    );
    let mut facts = EncodedSpans::default();
    let last: Option<Day> = reading.sql("SELECT max(span) FROM service_spans").value().await?;
    let Some(last) = last else { return Ok(facts) };
    let spans_of = |(service, from): &(Uuid, Day)| {
        let service = *service;
        let spans = std::iter::successors(Some(*from), |span| Some(span.next_span()));
        spans.take_while(move |span| *span <= last).map(move |span| (span, service))
    };
    let mut spans: Vec<(Day, Uuid)> = services.iter().flat_map(spans_of).collect();
    spans.sort_unstable();
    let chunks = spans.chunk_by(|a, b| a.0 == b.0).flat_map(|span| span.chunks(KEYS_AT_A_TIME));
    for keys in chunks {
        let span = keys[0].0;
        let services: Vec<Uuid> = keys.iter().map(|(_, service)| *service).collect();
        let found = reading.look_up(&FACTS, &services).bind(span).answer().await?;
        let mut rows = found.rows();
        while rows.next() {
            facts.add(rows.guid()?, span, rows.bytes()?);
        }
    }
    Ok(facts)
}

/// Replaces services' facts. Of some of these services the rows are drawn in the same commit, which reach `today` then.
pub(super) async fn replace(
    transaction: &mut Transaction,
    services: &[ServiceFacts],
    drawn: &HashSet<Uuid>,
    today: Day,
) -> Result<()> {
    replace_users(transaction, services).await?;
    let spans =
        services.iter().flat_map(|of| of.spans.iter().map(|(span, facts)| (*span, of.service, facts.as_deref())));
    replace_spans(transaction, spans.collect()).await?;
    replace_totals(transaction, services, drawn, today).await?;
    move_ledger(transaction, services).await
}

async fn replace_users(transaction: &mut Transaction, services: &[ServiceFacts]) -> Result<()> {
    static USERS: Insert = Insert::new(
        "users",
        &["service_guid", "user_guid", "history"],
        "ON CONFLICT (service_guid, user_guid) DO UPDATE SET history = excluded.history",
    );
    let all = services.iter().flat_map(|of| of.users.iter().map(|(user, history)| (of.service, *user, history)));
    let (kept, gone): (Vec<_>, Vec<_>) = all.partition(|(_, _, history)| history.is_some());
    for (service, user, _) in gone {
        let remove = transaction.sql("DELETE FROM users WHERE service_guid = $1 AND user_guid = $2");
        remove.bind(service).bind(user).execute().await?;
    }
    USERS
        .all(transaction, &kept, |values, (service, user, history)| {
            values.push(*service).push(*user).push(history.as_deref());
        })
        .await
}

/// A service's facts of a span, as they are stored; none where nothing is.
pub(super) type StoredSpan<'a> = (Day, Uuid, Option<&'a [u8]>);

/// Puts facts in the place of those that are stored.
pub(super) async fn replace_spans(transaction: &mut Transaction, spans: Vec<StoredSpan<'_>>) -> Result<()> {
    static SPANS: Insert = Insert::new(
        "service_spans",
        &["span", "service_guid", "facts"],
        "ON CONFLICT (span, service_guid) DO UPDATE SET facts = excluded.facts",
    );
    let (mut kept, gone): (Vec<_>, Vec<_>) = spans.into_iter().partition(|(_, _, facts)| facts.is_some());
    for (span, service, _) in gone {
        let remove = transaction.sql("DELETE FROM service_spans WHERE span = $1 AND service_guid = $2");
        remove.bind(span).bind(service).execute().await?;
    }
    kept.sort_unstable_by_key(|(span, service, _)| (*span, *service));
    SPANS
        .all(transaction, &kept, |values, (span, service, facts)| {
            values.push(*span).push(*service).push(*facts);
        })
        .await
}

async fn replace_totals(
    transaction: &mut Transaction,
    services: &[ServiceFacts],
    drawn: &HashSet<Uuid>,
    today: Day,
) -> Result<()> {
    static DRAWN: Insert = Insert::new(
        "service_progress",
        &["service_guid", "first_day", "held", "newest_span", "recent_users", "rows_from", "rows_through"],
        "ON CONFLICT (service_guid) DO UPDATE SET first_day = excluded.first_day, held = excluded.held,
            newest_span = excluded.newest_span, recent_users = excluded.recent_users,
            rows_from = excluded.rows_from, rows_through = excluded.rows_through,
            dirty_from = NULL, dirty_reason = NULL",
    );
    // The earlier of two days that rows must be drawn from, where there is one, and the stronger of two reasons.
    static PROGRESS: Insert = Insert::new(
        "service_progress AS stored",
        &["service_guid", "first_day", "held", "newest_span", "recent_users", "dirty_from", "dirty_reason"],
        "ON CONFLICT (service_guid) DO UPDATE SET first_day = excluded.first_day, held = excluded.held,
            newest_span = excluded.newest_span, recent_users = excluded.recent_users,
            dirty_from = CASE WHEN stored.dirty_from < excluded.dirty_from THEN stored.dirty_from
                ELSE coalesce(excluded.dirty_from, stored.dirty_from) END,
            dirty_reason = CASE WHEN stored.dirty_reason > excluded.dirty_reason THEN stored.dirty_reason
                ELSE coalesce(excluded.dirty_reason, stored.dirty_reason) END",
    );
    let (drawn, others): (Vec<_>, Vec<_>) = services.iter().partition(|of| drawn.contains(&of.service));
    DRAWN
        .all(transaction, &drawn, |values, of| {
            let rows_from = of.first_day.filter(|first_day| *first_day <= today);
            values.push(of.service).push(of.first_day);
            values.push(of.held.as_slice()).push(of.newest_span.as_slice()).push(of.recent_users.as_slice());
            values.push(rows_from).push(rows_from.map(|_| today));
        })
        .await?;
    PROGRESS
        .all(transaction, &others, |values, of| {
            values.push(of.service).push(of.first_day);
            values.push(of.held.as_slice()).push(of.newest_span.as_slice()).push(of.recent_users.as_slice());
            values.push(of.dirty_from).push(of.dirty_from.map(|_| of.reason.strength()));
        })
        .await
}

/// Adds to the inputs' ledger by how much the numbers of lines that are not counted have changed.
async fn move_ledger(transaction: &mut Transaction, services: &[ServiceFacts]) -> Result<()> {
    let mut sums: BTreeMap<i64, [i64; 3]> = BTreeMap::new();
    for (input, lines) in services.iter().flat_map(|of| &of.uncounted) {
        sums.entry(*input).or_default().iter_mut().zip(lines).for_each(|(sum, lines)| *sum += lines);
    }
    add_to_ledger(transaction, sums).await
}

/// Adds numbers of duplicate, voided and conflicting lines to those of inputs.
pub(super) async fn add_to_ledger(transaction: &mut Transaction, sums: BTreeMap<i64, [i64; 3]>) -> Result<()> {
    for (input, [duplicate, voided, conflicting]) in sums {
        let count = transaction.sql(
            "UPDATE inputs SET duplicate = duplicate + $2, voided = voided + $3, conflicting = conflicting + $4
             WHERE id = $1",
        );
        count.bind(input).bind(duplicate).bind(voided).bind(conflicting).execute().await?;
    }
    Ok(())
}
