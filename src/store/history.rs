//! What rows were before: versions that were served once their row was closed, kept in the order of commits
//! (`spec/usage.md`, Which rows exist).
//!
//! A row's numbers stand from the commit on that wrote them (`since`), until another commit replaces them (`until`). So what
//! stood at an instant is asked in two steps: which commit was the last one by then, and which versions stood after it.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use uuid::Uuid;

use super::db::{Guids, Insert, Shown, Spelled, Transaction, Values};
use super::rows::{RowCommit, RowToWrite, numbers_of};
use super::{Result, ServiceRows, Store, closings};
use crate::model::{Day, Instant, Numbers, PeriodType};

/// Rows that were removed after they had been closed, by service and period.
pub(super) type Tombstones = HashMap<(Uuid, PeriodType, Day), Tombstone>;

/// What a row that comes back goes on from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tombstone {
    pub revision: i64,
    pub closes_at: Instant,
    since: i64,
}

/// The columns that a version has in common with a row, behind its key and its numbers.
const OF_VERSION: [&str; 8] =
    ["event_count", "input_digest", "clamped", "revision", "state", "computed_at", "closes_at", "since"];
const REPLACED: [&str; 4] = ["until", "replaced_at", "reason", "run"];

/// Whether a stored row is closed by an instant; its stored state is as of the last rollup.
macro_rules! is_closed {
    ($row:literal, $at:literal) => {
        concat!("(", $row, ".state NOT IN ('open', 'settling') OR ", $row, ".closes_at <= ", $at, ")")
    };
}

/// `INSERT INTO usage_history`, of stored rows that are closed and that these values replace.
fn copy_of_stored(replaced: [&str; 4]) -> String {
    let row = ["service_guid", "period_type", "period"].map(|column| format!("stored.{column}")).join(", ");
    let of_version = OF_VERSION.map(|column| match column {
        // A row that is closed by the clock alone may not be noted as closed yet.
        "state" => "CASE stored.state WHEN 'restated' THEN 'restated' ELSE 'closed' END".to_owned(),
        _ => format!("stored.{column}"),
    });
    let columns =
        [["service_guid", "period_type", "period"].as_slice(), &Numbers::COLUMNS, &OF_VERSION, &REPLACED].concat();
    let (columns, replaced) = (columns.join(", "), replaced.join(", "));
    let (numbers, of_version) = (numbers_of("stored"), of_version.join(", "));
    format!("INSERT INTO usage_history ({columns}) SELECT {row}, {numbers}, {of_version}, {replaced}")
}

/// Keeps those of the stored rows that are closed and whose numbers these rows change. One statement for as many rows as one
/// that writes them; rows that are new, or of a period of which none is closed, have no part in it.
pub(super) async fn save_replaced(
    transaction: &mut Transaction,
    rows: &[RowToWrite<'_>],
    commit: RowCommit,
) -> Result<()> {
    static SAVE: LazyLock<Insert> = LazyLock::new(|| {
        let copy = copy_of_stored(["drawn.until", "drawn.replaced_at", "drawn.reason", "drawn.run"]);
        let statement = format!(
            "{copy} FROM {{rows}} AS drawn CROSS JOIN service_usage AS stored
             WHERE stored.period_type = drawn.period_type AND stored.period = drawn.period
                 AND stored.service_guid = drawn.service_guid AND {} AND ({}) <> ({})",
            is_closed!("stored", "drawn.replaced_at"),
            numbers_of("stored"),
            numbers_of("drawn"),
        );
        let columns = [["service_guid"].as_slice(), &Numbers::COLUMNS].concat();
        Insert::of_rows(&["period_type", "period", "until", "replaced_at", "reason", "run"], columns, statement)
    });
    let unclosed = closings::unclosed(transaction, commit.at).await?;
    let may_be_closed =
        |row: &&RowToWrite| !row.fate.is_new && !unclosed.contains(&(row.draft.period_type, row.draft.period));
    let mut rows: Vec<&RowToWrite> = rows.iter().filter(may_be_closed).collect();
    let shared = |row: &&RowToWrite| (row.draft.period_type, row.draft.period, row.reason);
    rows.sort_by_key(shared);
    let groups = rows.chunk_by(|a, b| shared(a) == shared(b));
    let bind_shared = |values: &mut Values, row: &&RowToWrite| {
        values.push(row.draft.period_type.name()).push(row.draft.period.to_string());
        values.push(commit.number).push(Shown::from(commit.at)).push(row.reason.name()).push(commit.run);
    };
    let bind = |values: &mut Values, row: &&RowToWrite| {
        values.push(Shown::clone(row.service));
        for number in row.draft.numbers.0 {
            values.push(number);
        }
    };
    SAVE.groups(transaction, groups, bind_shared, bind).await.map(|_| ())
}

/// Removes rows outside of these months. Of one that was closed a tombstone stays.
pub(super) async fn remove(
    transaction: &mut Transaction,
    service: &ServiceRows,
    except: &BTreeSet<Day>,
    commit: RowCommit,
) -> Result<u64> {
    const KEY: &str = "stored.period_type = $1 AND stored.period = $2 AND stored.service_guid = $3";
    static SAVE: LazyLock<String> = LazyLock::new(|| {
        let closed = is_closed!("stored", "$5");
        format!("{} FROM service_usage AS stored WHERE {KEY} AND {closed}", copy_of_stored(["$4", "$5", "$6", "$7"]))
    });
    static BURY: LazyLock<String> = LazyLock::new(|| {
        format!(
            "INSERT INTO usage_tombstones (service_guid, period_type, period, revision, closes_at, since)
             SELECT $6, period_type, period, revision + 1, closes_at, $4 FROM service_usage AS stored
             WHERE {KEY} AND {}",
            is_closed!("stored", "$5")
        )
    });
    let (guid, at) = (Shown::from(service.service), Shown::from(commit.at));
    let mut removed = 0;
    for (period_type, period) in service.gone.iter().filter(|(_, period)| !except.contains(&period.month())) {
        let (period_type, period) = (period_type.name(), period.to_string());
        let save = transaction.sql(SAVE.as_str()).bind(period_type).bind(period.clone()).bind(guid.clone());
        let save = save.bind(commit.number).bind(at.clone()).bind(service.reason.name()).bind(commit.run);
        if save.execute().await? > 0 {
            let bury = transaction.sql(BURY.as_str()).bind(period_type).bind(period.clone()).bind(guid.clone());
            bury.bind(commit.number).bind(at.clone()).bind(service.service).execute().await?;
        }
        let remove =
            transaction.sql("DELETE FROM service_usage WHERE period_type = $1 AND period = $2 AND service_guid = $3");
        removed += remove.bind(period_type).bind(period).bind(guid.clone()).execute().await?;
    }
    Ok(removed)
}

/// The tombstones of those of these services that have new rows.
pub(super) async fn tombstones(transaction: &mut Transaction, services: &[ServiceRows]) -> Result<Tombstones> {
    static OF_SERVICES: Spelled = Spelled::new(
        "SELECT service_guid, period_type, period, revision, closes_at, since FROM usage_tombstones
         WHERE service_guid {in guids $1}",
    );
    let has_new = |service: &&ServiceRows| service.rows.iter().any(|(_, fate)| fate.is_new);
    let services: Vec<Uuid> = services.iter().filter(has_new).map(|service| service.service).collect();
    let mut tombstones = Tombstones::new();
    // Hardly any installation has one, and a first ingest asks for all of its services.
    if services.is_empty() || transaction.sql("SELECT 1 FROM usage_tombstones LIMIT 1").optional().await?.is_none() {
        return Ok(tombstones);
    }
    for row in transaction.sql(&OF_SERVICES).bind(Guids::from(services)).all().await? {
        let period_type = row.parsed("period_type")?;
        let period = row.parsed("period")?;
        let tombstone =
            Tombstone { revision: row.get("revision")?, closes_at: row.get("closes_at")?, since: row.get("since")? };
        tombstones.insert((row.get("service_guid")?, period_type, period), tombstone);
    }
    Ok(tombstones)
}

/// That there was no row, of those that are new and would not be if all events had come in time: those that come back, and
/// those that a late first event adds below closed ones.
pub(super) async fn note_new(
    transaction: &mut Transaction,
    services: &[ServiceRows],
    rows: &[RowToWrite<'_>],
    tombstones: &Tombstones,
    commit: RowCommit,
) -> Result<()> {
    static ABSENT: LazyLock<Insert> = LazyLock::new(|| {
        let columns =
            [["service_guid", "period_type", "period"].as_slice(), &Numbers::COLUMNS, &OF_VERSION, &REPLACED].concat();
        Insert::made("usage_history", &[], columns, String::new())
    });
    let below = below_closed(transaction, services, commit).await?;
    if below.is_empty() && tombstones.is_empty() {
        return Ok(());
    }
    let (mut absent, mut risen) = (Vec::new(), Vec::new());
    for row in rows.iter().filter(|row| row.fate.is_new) {
        let key = (row.service.value, row.draft.period_type, row.draft.period);
        match tombstones.get(&key) {
            Some(tombstone) => {
                absent.push((row, tombstone.revision, tombstone.since));
                risen.push(key);
            }
            None if below.get(&key.0).is_some_and(|from| key.2 < key.1.period_of(*from)) => absent.push((row, 0, 0)),
            None => {}
        }
    }
    for (service, period_type, period) in risen {
        let rise = "DELETE FROM usage_tombstones WHERE service_guid = $1 AND period_type = $2 AND period = $3";
        let rise = transaction.sql(rise).bind(service).bind(period_type.name()).bind(period.to_string());
        rise.execute().await?;
    }
    let bind = |values: &mut Values, (row, revision, since): &(&RowToWrite, i64, i64)| {
        let at = Shown::from(commit.at);
        values.push(Shown::clone(row.service)).push(row.draft.period_type.name()).push(row.draft.period.to_string());
        for number in Numbers::default().0 {
            values.push(number);
        }
        values.push(0_i64).push([0_u8; 16].as_slice()).push(false).push(*revision).push("absent");
        values.push(at.clone()).push(Shown::from(row.fate.closes_at)).push(*since);
        values.push(commit.number).push(at).push(row.reason.name()).push(commit.run);
    };
    ABSENT.all(transaction, &absent, bind).await
}

/// Those of these services that get rows below their first one, which is closed, with its day.
async fn below_closed(
    transaction: &mut Transaction,
    services: &[ServiceRows],
    commit: RowCommit,
) -> Result<HashMap<Uuid, Day>> {
    const FIRST: &str = concat!(
        "SELECT 1 FROM service_usage u WHERE u.period_type = 'Daily' AND u.period = $1 AND u.service_guid = $2 AND ",
        is_closed!("u", "$3")
    );
    let mut below = HashMap::new();
    for service in services {
        let Some((from, _)) = service.stored else { continue };
        let is_below = service.rows.first().is_some_and(|(draft, _)| draft.period < draft.period_type.period_of(from));
        if is_below {
            let first = transaction.sql(FIRST).bind(from.to_string()).bind(Shown::from(service.service));
            if first.bind(Shown::from(commit.at)).optional().await?.is_some() {
                below.insert(service.service, from);
            }
        }
    }
    Ok(below)
}

/// Notes at which instant a commit is made that changes what is served.
pub(super) async fn note_commit(transaction: &mut Transaction, number: i64, at: Instant) -> Result<()> {
    transaction.sql("DELETE FROM row_commits WHERE at >= $1").bind(at.nanos()).execute().await?;
    let note = transaction.sql("INSERT INTO row_commits (at, number) VALUES ($1, $2)");
    note.bind(at.nanos()).bind(number).execute().await.map(|_| ())
}

impl Store {
    /// The last commit at or before an instant; 0 before the first one. Instants are shown to the second, so a whole second
    /// means all of it: as of the instant that a restatement tells, it is there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn commit_as_of(&self, instant: Instant) -> Result<i64> {
        let second = Instant::from_seconds(instant.seconds());
        let instant = if second == instant { Instant::from_nanos(second.plus_seconds(1).nanos() - 1) } else { instant };
        let last = self.db.readers.sql("SELECT number FROM row_commits WHERE at <= $1 ORDER BY at DESC LIMIT 1");
        last.bind(instant.nanos()).optional().await?.map_or(Ok(0), |row| row.get("number"))
    }
}
