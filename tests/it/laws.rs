//! The laws of `spec/usage.md`, on random events: the engine against the oracle, which is naive and was written from the
//! specification alone.

use chrono_tz::Tz;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use usage_rollup::model::PeriodType;
use usage_rollup::store::Ledger;

use super::oracle::{self, Outcome};
use super::oracle_line::{self, instant};
use super::random_events;
use super::stores::{On, on_each_store};
use super::support::Engine;

on_each_store!(
    the_engine_gives_the_rows_and_the_ledger_of_the_oracle,
    rows_are_partitions_and_months_are_made_of_days_without_holes,
    events_that_are_taken_back_leave_every_number_as_if_they_were_never_sent,
);

/// So many random sets of events a law; `LAW_CASES` asks for others. Fewer on a server, where each has a database to be made.
pub fn config(on: On) -> Config {
    cases(on, 96)
}

/// For laws 6 to 9, which nothing else holds.
pub fn thousand(on: On) -> Config {
    cases(on, if on == On::Sqlite { 1_000 } else { 96 })
}

fn cases(on: On, default: u32) -> Config {
    let cases: u32 = std::env::var("LAW_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(default);
    let cases = if on == On::Sqlite { cases } else { cases.div_ceil(8) };
    Config { cases, failure_persistence: None, ..Config::default() }
}

/// How the same events reach the engine.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub zone: Tz,
    pub threads: &'static str,
    pub rows_together: &'static str,
    /// Runs, each of files, each of lines by their numbers; every line comes at least once, some come several times.
    pub runs: Vec<Vec<Vec<usize>>>,
}

impl Delivery {
    pub fn settings(&self) -> [(&'static str, &'static str); 3] {
        [
            ("reporting.timezone", self.zone.name()),
            ("rollup.threads", self.threads),
            ("rollup.rows_together", self.rows_together),
        ]
    }
}

pub fn deliveries(lines: usize) -> impl Strategy<Value = Delivery> {
    let zones = prop::sample::select(vec![Tz::UTC, Tz::America__New_York, Tz::Asia__Kolkata]);
    let copies = prop::collection::vec(0..lines.max(1), 0..10);
    let cuts = prop::collection::vec(any::<prop::sample::Index>(), 0..4);
    let threads = prop::sample::select(vec!["1", "2", "8"]);
    let rows_together = prop::sample::select(vec!["1", "20", "2000000"]);
    (zones, threads, rows_together, copies, cuts, any::<bool>()).prop_flat_map(
        move |(zone, threads, rows_together, copies, cuts, one_run)| {
            let all: Vec<usize> = (0..lines).chain(copies.into_iter().filter(move |_| lines > 0)).collect();
            Just(all).prop_shuffle().prop_map(move |order| {
                let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(order.len() + 1)).collect();
                cuts.sort_unstable();
                let bounds = std::iter::once(0).chain(cuts).chain([order.len()]).collect::<Vec<usize>>();
                let files: Vec<Vec<usize>> =
                    bounds.windows(2).map(|bound| order[bound[0]..bound[1]].to_vec()).collect();
                let runs = if one_run { vec![files] } else { files.into_iter().map(|file| vec![file]).collect() };
                Delivery { zone, threads, rows_together, runs }
            })
        },
    )
}

pub fn events_and_delivery() -> impl Strategy<Value = (Vec<String>, Delivery)> {
    any::<bool>().prop_flat_map(random_events::lines).prop_flat_map(|lines| {
        let count = lines.len();
        (Just(lines), deliveries(count))
    })
}

pub fn file(lines: &[String], numbers: &[usize]) -> Vec<u8> {
    numbers.iter().map(|number| lines[*number].as_str()).collect::<Vec<&str>>().join("\n").into_bytes()
}

/// An engine that has taken the delivered lines in.
pub async fn deliver(on: On, lines: &[String], delivery: &Delivery) -> Engine {
    let engine = Engine::new(on, random_events::NOW, &delivery.settings()).await;
    for run in &delivery.runs {
        engine.ingest(&run.iter().map(|numbers| file(lines, numbers)).collect::<Vec<_>>()).await;
    }
    engine
}

/// What the engine makes of the delivered lines: daily and monthly rows, and the ledger.
fn engine(on: On, runtime: &Runtime, lines: &[String], delivery: &Delivery) -> (String, String, Ledger) {
    runtime.block_on(async {
        let engine = deliver(on, lines, delivery).await;
        (engine.export(PeriodType::Daily).await, engine.export(PeriodType::Monthly).await, engine.ledger().await)
    })
}

fn oracle(lines: &[String], delivery: &Delivery) -> Outcome {
    oracle_at(lines, delivery, random_events::NOW)
}

pub fn oracle_at(lines: &[String], delivery: &Delivery, now: &str) -> Outcome {
    let delivered = delivery.runs.iter().flatten().map(|numbers| file(lines, numbers)).collect::<Vec<_>>();
    let files: Vec<&[u8]> = delivered.iter().map(Vec::as_slice).collect();
    oracle::usage(&files, delivery.zone, instant(now).unwrap())
}

/// Laws 1, 3, 4 and 5: whatever the order, the copies, the files, the runs and the threads, the rows are the oracle's, to
/// the byte. Law 2: so is the ledger, and its sums agree.
fn the_engine_gives_the_rows_and_the_ledger_of_the_oracle(on: On) {
    let runtime = Runtime::new().unwrap();
    TestRunner::new(config(on))
        .run(&events_and_delivery(), |(lines, delivery)| {
            let (daily, monthly, ledger) = engine(on, &runtime, &lines, &delivery);
            let expected = oracle(&lines, &delivery);
            prop_assert_eq!(daily, expected.daily_csv);
            prop_assert_eq!(monthly, expected.monthly_csv);
            prop_assert_eq!(ledger.lines, ledger.stored + ledger.duplicate + ledger.rejected);
            prop_assert_eq!(ledger.stored, ledger.counted + ledger.voided + ledger.conflicting);
            let found =
                [ledger.lines, ledger.stored, ledger.duplicate, ledger.rejected, ledger.voided, ledger.conflicting];
            let of_oracle = &expected.ledger;
            let expected = [
                of_oracle.lines,
                of_oracle.stored,
                of_oracle.duplicate,
                of_oracle.rejected,
                of_oracle.voided,
                of_oracle.conflicting,
            ];
            prop_assert_eq!(found.map(i64::cast_unsigned), expected);
            Ok(())
        })
        .unwrap();
}

/// Some of the accepted events under identities of their own, each with a void that takes it back.
fn with_voided(lines: &[String], chosen: &[bool]) -> Vec<String> {
    let [earliest, latest] = ["2000-01-01T00:00:00Z", random_events::NOW].map(|text| instant(text).unwrap());
    let pair = |(number, line): (usize, &String)| {
        let event = oracle_line::read(line.as_bytes(), earliest, latest).ok().filter(|of| of.kind != "event.voided")?;
        let mut line: Value = serde_json::from_str(line).ok()?;
        line["id"] = format!("{}~{number}", event.id).into();
        let taken_back = json!({ "source": event.source, "id": line["id"], "time": line["time"] });
        let mut void = line.clone();
        void["id"] = format!("void~{number}").into();
        void["type"] = "event.voided".into();
        void["data"] = taken_back;
        Some([line.to_string(), void.to_string()])
    };
    let chosen = lines.iter().enumerate().zip(chosen.iter().cycle()).filter(|(_, chosen)| **chosen);
    let pairs = chosen.filter_map(|(line, _)| pair(line)).flatten();
    lines.iter().cloned().chain(pairs).collect()
}

/// Law 8: an event and its void, in any order and run, leave the rows of all others.
fn events_that_are_taken_back_leave_every_number_as_if_they_were_never_sent(on: On) {
    let runtime = Runtime::new().unwrap();
    let chosen = prop::collection::vec(any::<bool>(), 8);
    let events = (any::<bool>().prop_flat_map(random_events::lines), chosen).prop_flat_map(|(lines, chosen)| {
        let all = with_voided(&lines, &chosen);
        let count = all.len();
        (Just(lines), Just(all), deliveries(count))
    });
    let taken_back = std::cell::Cell::new(0);
    TestRunner::new(thousand(on))
        .run(&events, |(lines, all, delivery)| {
            let (daily, monthly, ledger) = engine(on, &runtime, &all, &delivery);
            let runs = vec![vec![(0..lines.len()).collect()]];
            let expected = oracle(&lines, &Delivery { runs, ..delivery });
            prop_assert_eq!(daily, expected.daily_csv);
            prop_assert_eq!(monthly, expected.monthly_csv);
            taken_back.set(taken_back.get() + ledger.voided);
            Ok(())
        })
        .unwrap();
    assert!(taken_back.get() > 0 || on == On::Postgres, "no case took anything back");
}

/// Laws 3, 4 and 5, without the oracle: each row is a partition of its users, months are made of days, and no day is
/// missing from the first through today.
fn rows_are_partitions_and_months_are_made_of_days_without_holes(on: On) {
    let runtime = Runtime::new().unwrap();
    TestRunner::new(config(on))
        .run(&events_and_delivery(), |(lines, delivery)| {
            let (daily, monthly, _) = engine(on, &runtime, &lines, &delivery);
            let (daily, monthly) = (rows(&daily), rows(&monthly));
            for row in daily.iter().chain(&monthly) {
                prop_assert_eq!(row.numbers[0], row.numbers[1..5].iter().sum::<i128>());
            }
            for pair in daily.windows(2).filter(|pair| pair[0].service == pair[1].service) {
                prop_assert_eq!(pair[0].period.succ_opt().unwrap(), pair[1].period);
            }
            for month in &monthly {
                let in_month = |row: &&Row| {
                    row.service == month.service
                        && row.period.format("%Y-%m").to_string() == month.period.format("%Y-%m").to_string()
                };
                let days: Vec<&Row> = daily.iter().filter(in_month).collect();
                let last = days.last().expect("a month has days");
                for number in 0..13 {
                    let is_counter = (5..12).contains(&number);
                    let sum: i128 = days.iter().map(|day| day.numbers[number]).sum();
                    let expected = if is_counter { sum.min(i64::MAX.into()) } else { last.numbers[number] };
                    prop_assert_eq!(month.numbers[number], expected);
                }
            }
            Ok(())
        })
        .unwrap();
}

#[derive(Debug)]
struct Row {
    service: String,
    period: chrono::NaiveDate,
    numbers: Vec<i128>,
}

fn rows(csv: &str) -> Vec<Row> {
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        Row {
            service: cells[0].to_owned(),
            period: cells[2].parse().unwrap(),
            numbers: cells[3..].iter().map(|cell| cell.parse().unwrap()).collect(),
        }
    };
    csv.lines().skip(1).map(row).collect()
}
