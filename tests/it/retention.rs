//! Dropping the contents of old events changes no number: not those that are there, and not those that late events, voids and
//! copies make later.

use std::collections::{HashMap, HashSet};
use std::fs;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::Value;
use tokio::runtime::Runtime;
use usage_rollup::event_log::{EventLogError, EventRows, SegmentReader};
use usage_rollup::jobs::{self, Asked, RetentionReport, Scope};
use usage_rollup::model::{Day, PeriodType};

use super::compaction::{in_many_commits, kill_again_and_again, told};
use super::crash::NOW;
use super::laws::{Delivery, config, events_and_delivery, file};
use super::oracle_line::{self, instant};
use super::stores::{On, on_each_store};
use super::support::{Engine, run};

mod laws {
    use super::*;

    on_each_store!(with_and_without_contents_everything_comes_to_the_same,);
}

mod kills {
    use super::*;

    on_each_store!(a_kill_while_contents_are_dropped_leaves_either_state_whole,);
}

on_each_store!(
    async only_old_days_of_locked_months_that_wait_for_nothing_are_due,
    a_day_with_a_damaged_segment_is_left_as_it_is,
    what_is_dropped_is_gone_and_what_is_told_says_so,
    a_late_event_that_differs_from_a_bare_one_at_the_same_instant_conflicts_with_it,
);

/// After both months of the random events.
pub const LATER: &str = "2026-04-05T00:00:00Z";
const SERVICE: &str = "3f2b8c1e7d544f0a9a550d6f1f8f7a10";

fn months() -> [Day; 2] {
    ["2026-02-01", "2026-03-01"].map(|month| month.parse().unwrap())
}

pub async fn lock(engine: &Engine) {
    for month in months() {
        jobs::lock_month(&engine.installation, &run(), month).await.unwrap();
    }
}

pub async fn drop_contents(engine: &Engine) -> RetentionReport {
    let planned = jobs::plan_retention(&engine.installation).await.unwrap();
    let report = jobs::retention(&engine.installation, &run()).await.unwrap();
    assert!(report.unreadable.is_empty(), "{report:?}");
    assert_eq!((planned.lines, planned.segments), (report.lines, report.segments));
    assert_eq!(planned.days, report.days);
    let left = jobs::plan_retention(&engine.installation).await.unwrap();
    assert_eq!((left.lines, left.segments), (0, 0), "nothing is left to be dropped");
    report
}

/// Identity and instant, and content, of the lines that are accepted.
fn read(lines: &[String], numbers: &[usize]) -> Vec<(usize, String, String)> {
    let [earliest, latest] = ["2000-01-01T00:00:00Z", "2026-04-06T00:00:00Z"].map(|text| instant(text).unwrap());
    let one = |number: &usize| {
        let event = oracle_line::read(lines[*number].as_bytes(), earliest, latest).ok()?;
        let place =
            format!("{} {:?} {:?} {}", event.service, event.source, event.id, event.time.timestamp_nanos_opt()?);
        Some((*number, place, format!("{} {:?}", event.kind, event.data)))
    };
    numbers.iter().filter_map(one).collect()
}

/// Leaves those lines out of later runs that share identity and instant with one, and no other, whose content was dropped: of
/// the two the bare one comes first, which its content might not have.
fn without_what_order_can_not_be_told_of(lines: &[String], delivery: &Delivery) -> Delivery {
    let mut known: HashMap<String, HashSet<String>> = HashMap::new();
    let mut delivery = delivery.clone();
    for of_run in &mut delivery.runs {
        let of_all = |files: &[Vec<usize>]| read(lines, &files.concat());
        let left_out: HashSet<usize> = of_all(of_run)
            .into_iter()
            .filter(|(_, place, content)| {
                known.get(place).is_some_and(|contents| contents.len() == 1 && !contents.contains(content))
            })
            .map(|(number, ..)| number)
            .collect();
        for numbers in of_run.iter_mut() {
            numbers.retain(|number| !left_out.contains(number));
        }
        for (_, place, content) in of_all(of_run) {
            known.entry(place).or_default().insert(content);
        }
    }
    delivery
}

/// Late events, redelivered ones, conflicts and voids, on days whose contents were dropped, wait and count as if they never were:
/// while the months are locked, and when they are unlocked.
fn with_and_without_contents_everything_comes_to_the_same(on: On) {
    let runtime = Runtime::new().unwrap();
    let mut config = config(on);
    // Each case delivers everything to two engines, and asks both hundreds of questions again and again.
    config.cases = config.cases.div_ceil(6);
    let merges = prop::collection::vec(any::<bool>(), 5);
    let dropped_any = std::cell::Cell::new(0);
    TestRunner::new(config)
        .run(&(events_and_delivery(), merges), |((lines, delivery), merges)| {
            let delivery = without_what_order_can_not_be_told_of(&lines, &delivery);
            runtime.block_on(async {
                let settings: Vec<_> = delivery.settings().into_iter().chain([("rollup.settle_after", "0s")]).collect();
                let rules = [("event_log.retention", "1day"), ("event_log.compact_at", "2"), ("event_log.compact_rows", "40")];
                let kept = Engine::new(on, LATER, &settings).await;
                let dropped = Engine::new(on, LATER, &[settings.as_slice(), &rules].concat()).await;
                for (of_run, number) in delivery.runs.iter().zip(0_usize..) {
                    let files = of_run.iter().map(|numbers| file(&lines, numbers)).collect::<Vec<_>>();
                    kept.ingest(&files).await;
                    dropped.ingest(&files).await;
                    if number == 0 {
                        lock(&kept).await;
                        lock(&dropped).await;
                    }
                    let report = drop_contents(&dropped).await;
                    dropped_any.set(dropped_any.get() + usize::from(report.lines > 0));
                    if merges[number % merges.len()] {
                        jobs::compact(&dropped.installation, &run(), usize::MAX).await.unwrap();
                        prop_assert_eq!(jobs::plan_retention(&dropped.installation).await.unwrap().lines, 0);
                    }
                    prop_assert_eq!(told(&dropped).await, told(&kept).await);
                }
                let installation = &dropped.installation;
                let pending = async |engine: &Engine| {
                    let rows = "SELECT CAST(count(*) AS text) FROM usage_pending GROUP BY period_type, period, service_guid, month
                        ORDER BY period_type, period, service_guid";
                    engine.view(rows).await
                };
                prop_assert_eq!(pending(&dropped).await, pending(&kept).await);
                let verified = jobs::verify(installation, &run(), &Scope::default()).await.unwrap();
                prop_assert!(verified.is_clean(), "{:#?}", verified.differences);
                for month in months() {
                    jobs::unlock_month(installation, &run(), month).await.unwrap();
                    jobs::unlock_month(&kept.installation, &run(), month).await.unwrap();
                }
                prop_assert_eq!(told(&dropped).await, told(&kept).await);
                // Once more from the beginning: each line is a copy.
                for engine in [&kept, &dropped] {
                    let files = delivery.runs.concat();
                    engine.ingest(&files.iter().map(|numbers| file(&lines, numbers)).collect::<Vec<_>>()).await;
                }
                prop_assert_eq!(told(&dropped).await, told(&kept).await);
                let from = "2026-02-01".parse().unwrap();
                let backfilled = jobs::backfill(installation, &run(), from, installation.today(), &[]).await.unwrap();
                prop_assert_eq!(backfilled.rows_written, 0);
                let (verified, repaired) = jobs::repair(installation, &run(), &Scope::default()).await.unwrap();
                prop_assert!(verified.is_clean() && repaired.facts == 0, "{:#?}", verified.differences);
                Ok(())
            })
        })
        .unwrap();
    // On a server the cases are few.
    assert!(dropped_any.get() > 0 || on == On::Postgres, "no case had anything to drop");
}

fn a_kill_while_contents_are_dropped_leaves_either_state_whole(on: On) {
    let (binary, ingest) = in_many_commits(on);
    for month in ["2026-02", "2026-03"] {
        binary.ok(&["--quiet", "--now", NOW, "periods", "lock", month]);
    }
    kill_again_and_again(on, &binary, "retention", &ingest);
    let status: Value = serde_json::from_str(&binary.ok(&["--now", NOW, "status", "--json"])).unwrap();
    assert!(status["bare_lines"].as_i64() > Some(10_000), "{status}");
}

fn event(id: &str, day: &str, kind: &str, data: &str) -> Vec<u8> {
    let of_all = format!(r#""specversion":"1.0","source":"/s","subject":"{SERVICE}","id":"{id}","type":"{kind}""#);
    format!(r#"{{{of_all},"time":"{day}T05:06:07Z","data":{data}}}"#).into_bytes()
}

const USED: &str = r#"{"feature":"SecureForms","quantity":3}"#;

async fn engine(on: On) -> Engine {
    Engine::new(on, LATER, &[("event_log.retention", "20days"), ("rollup.settle_after", "0s")]).await
}

async fn only_old_days_of_locked_months_that_wait_for_nothing_are_due(on: On) {
    let engine = engine(on).await;
    let days = ["2026-02-27", "2026-03-15", "2026-03-16", "2026-04-01"];
    engine.ingest(&days.map(|day| event(day, day, "feature.used", USED))).await;
    let due = async || jobs::plan_retention(&engine.installation).await.unwrap().days;
    assert_eq!(due().await, [""; 0]);
    jobs::lock_month(&engine.installation, &run(), months()[0]).await.unwrap();
    assert_eq!(due().await, ["2026-02-27"]);
    jobs::lock_month(&engine.installation, &run(), months()[1]).await.unwrap();
    assert_eq!(due().await, ["2026-02-27", "2026-03-15"]);
    let nobody = if on == On::Sqlite { "x''" } else { "''::bytea" };
    let mark = "INSERT INTO dirty_partitions (day, service_guid) SELECT min(day),";
    engine.change(&format!("{mark} {nobody} FROM segment_partitions")).await;
    assert_eq!(due().await, ["2026-03-15"]);
    // A segment of several days is written anew, and other days stay whole.
    let report = drop_contents(&engine).await;
    assert_eq!((report.lines, report.segments, report.into), (1, 1, 1));
    jobs::rollup(&engine.installation, &run()).await.unwrap();
    assert_eq!(due().await, ["2026-02-27"]);
}

async fn a_day_with_a_damaged_segment_is_left_as_it_is(on: On) {
    let engine = engine(on).await;
    for (id, day) in [("a", "2026-02-26"), ("b", "2026-02-27"), ("c", "2026-02-27"), ("d", "2026-02-28")] {
        engine.ingest(&[event(id, day, "feature.used", USED)]).await;
    }
    lock(&engine).await;
    let exported = engine.export(PeriodType::Daily).await;
    let damaged = engine.installation.log.files().unwrap().remove(1);
    let file = engine.installation.log.path_of(&damaged);
    let whole = fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    flipped[9] ^= 1;
    fs::write(&file, flipped).unwrap();

    let report = jobs::retention(&engine.installation, &run()).await.unwrap();

    assert_eq!((report.lines, report.days.len()), (2, 2), "{report:?}");
    assert_eq!(report.unreadable.keys().collect::<Vec<_>>(), ["2026-02-27"]);
    fs::write(&file, whole).unwrap();
    assert_eq!(drop_contents(&engine).await.days, ["2026-02-27"]);
    assert_eq!(engine.export(PeriodType::Daily).await, exported);
    let verified = jobs::verify(&engine.installation, &run(), &Scope::default()).await.unwrap();
    assert!(verified.is_clean() && verified.checked.bare_lines == 4);
}

async fn what_is_dropped_is_gone_and_what_is_told_says_so(on: On) {
    let engine = engine(on).await;
    let person = r#"{"userGuid":"00000002-0000-4000-8000-000000000000","groupType":"Guest","emailAddress":"a@b.example","firstName":"Ann"}"#;
    let sent = r#"{"messageGuid":"00000000-0000-4000-8000-000000000001","userGuid":"00000002-0000-4000-8000-000000000000","attachments":[{"attachmentGuid":"00000000-0000-4000-8000-000000000009","sizeBytes":5}]}"#;
    let files = [
        event("a", "2026-02-27", "user.invited", person),
        event("b", "2026-02-27", "message.sent", sent),
        event("c", "2026-03-30", "user.updated", person),
    ];
    engine.ingest(&files).await;
    let exported = engine.export(PeriodType::Daily).await;
    lock(&engine).await;
    assert_eq!(drop_contents(&engine).await.lines, 2);

    assert_eq!(engine.export(PeriodType::Daily).await, exported);
    let reader = SegmentReader::new(engine.installation.log.clone());
    let mut seen = Vec::new();
    for segment in engine.installation.store.catalog().await.unwrap() {
        let take = |batch: &_| {
            seen.extend(EventRows::new(batch).iter().map(|event| {
                let data = event.data;
                let guids = data.attachments.unwrap_or_default().into_iter().map(|of| of.attachment_guid.as_u128());
                (event.id.into_owned(), data.email_address.is_some(), data.message_guid.is_some(), guids.sum::<u128>())
            }));
            Ok::<(), EventLogError>(())
        };
        reader.open(&segment).unwrap().read_all(take).unwrap();
    }
    seen.sort();
    let bare = |id: &str| (id.to_owned(), false, false, 0);
    assert_eq!(seen, [bare("a"), bare("b"), ("c".to_owned(), true, false, 0)]);

    let asked = Asked {
        service: SERVICE.parse().unwrap(),
        period_type: PeriodType::Daily,
        period: "2026-02-27".parse().unwrap(),
        field: "total_message_count".parse().unwrap(),
        limit: 9,
        all: false,
    };
    let answer = Box::pin(jobs::explain(&engine.reading(), asked)).await.unwrap();
    assert!(answer.sum == 1 && answer.events[0].event.dropped, "{answer:#?}");
    let verified = jobs::verify(&engine.installation, &run(), &Scope::default()).await.unwrap();
    assert!(verified.is_clean() && verified.checked.bare_lines == 2);
    assert_eq!(engine.installation.store.status(engine.installation.now()).await.unwrap().bare_lines, 2);
    // The same, and one that takes back what was dropped.
    engine.ingest(&files).await;
    assert_eq!((engine.ledger().await.stored, engine.ledger().await.duplicate), (3, 3));
    let void = r#"{"source":"/s","id":"b","time":"2026-02-27T05:06:07Z"}"#;
    engine.ingest(&[event("d", "2026-04-01", "event.voided", void)]).await;
    assert_eq!(engine.ledger().await.voided, 1);
    jobs::unlock_month(&engine.installation, &run(), months()[0]).await.unwrap();
    assert!(!engine.export(PeriodType::Daily).await.contains("2026-02-27,1,0,0,0,1,0,0,0,0,0,1"));
}

async fn a_late_event_that_differs_from_a_bare_one_at_the_same_instant_conflicts_with_it(on: On) {
    let engine = engine(on).await;
    let used = |quantity: u32| {
        let data = format!(r#"{{"feature":"SecureForms","quantity":{quantity}}}"#);
        event("a", "2026-02-27", "feature.used", &data)
    };
    engine.ingest(&[used(3)]).await;
    lock(&engine).await;
    drop_contents(&engine).await;
    let exported = engine.export(PeriodType::Daily).await;
    // By content alone, 1 would come before 3.
    engine.ingest(&[used(1), used(4), used(3)]).await;
    let ledger = engine.ledger().await;
    assert_eq!((ledger.stored, ledger.conflicting, ledger.duplicate, ledger.counted), (3, 2, 1, 1));
    for _ in 0..2 {
        // What came late stays whole, for it can't be told otherwise which is which.
        drop_contents(&engine).await;
        engine.ingest(&[used(4), used(1)]).await;
        assert_eq!(engine.ledger().await.conflicting, 2);
    }
    jobs::unlock_month(&engine.installation, &run(), months()[0]).await.unwrap();
    assert_eq!(engine.export(PeriodType::Daily).await, exported);
    let verified = jobs::verify(&engine.installation, &run(), &Scope::default()).await.unwrap();
    assert!(verified.is_clean());
}
