//! Erasure is seen nowhere: in no row, in no ledger, in no explanation; also when everything comes again.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tokio::runtime::Runtime;
use usage_rollup::jobs::{self, ErasureReport, Scope};
use usage_rollup::model::parse_guid;
use uuid::Uuid;

use super::compaction::{Told, told};
use super::laws::{Delivery, config, deliver, deliveries, file};
use super::random_events;
use super::random_spelling::{IDS, SERVICES, SOURCES, USERS};
use super::retention::{LATER, drop_contents, lock};
use super::stores::{On, on_each_store};
use super::support::{Engine, run};

mod laws {
    use super::*;

    on_each_store!(
        erasing_changes_no_number_and_no_answer,
        erasing_keeps_the_order_of_contents,
        what_comes_again_on_a_bare_day_is_a_copy_before_and_after_its_user_is_erased,
    );
}

/// Events of users with e-mail addresses and names, under few identities and instants: copies, conflicts and ties.
fn personal_lines() -> impl Strategy<Value = Vec<String>> {
    let numbers = (0..2_usize, 0..3_usize, 0..USERS.len(), 0..USERS.len() + 1);
    let texts = (0..3_usize, 0..3_usize, any::<bool>());
    let instant = prop::sample::select(vec!["01T00:00:00", "01T12:00:00", "02T12:00:00", "05T04:00:00"]);
    let line = (numbers, texts, instant).prop_map(|((service, id, user, inviter), (email, name, is_update), instant)| {
        let [email, other] = [email, name].map(|number| format!("{}@example.org", ["ann", "bea", "Ann"][number]));
        let name = ["Ann", "Bea", ""][name];
        let (kind, data) = if is_update {
            ("user.updated", format!(r#""emailAddress":"{email}","lastName":"{name}""#))
        } else {
            let by = USERS.get(inviter).map_or_else(String::new, |by| format!(r#","invitedByUserGuid":"{by}""#));
            let data = format!(r#""groupType":"Guest","emailAddress":"{email}","firstName":"{name}","invitedByEmailAddress":"{other}"{by}"#);
            ("user.invited", data)
        };
        format!(
            r#"{{"specversion":"1.0","id":"{}","source":"{}","type":"{kind}","subject":"{}","time":"2026-03-{instant}Z","data":{{"userGuid":"{}",{data}}}}}"#,
            IDS[id], SOURCES[0], SERVICES[service], USERS[user]
        )
    });
    prop::collection::vec(line, 0..20)
}

fn personal_events_and_delivery() -> impl Strategy<Value = (Vec<String>, Delivery)> {
    let lines = (any::<bool>().prop_flat_map(random_events::lines), personal_lines());
    lines.prop_map(|(some, more)| [some, more].concat()).prop_flat_map(|lines| {
        let count = lines.len();
        (Just(lines), deliveries(count))
    })
}

async fn erase(engine: &Engine, users: &[Uuid]) -> ErasureReport {
    let report = jobs::erase_users(&engine.installation, &run(), users).await.unwrap();
    assert!(report.left.is_empty(), "{report:?}");
    assert_eq!(report.users.len() + report.nobody.len(), users.len());
    let files = engine.installation.log.files().unwrap();
    let mut live: Vec<String> = engine.installation.store.live_paths().await.unwrap().into_iter().collect();
    live.sort();
    assert_eq!(files, live, "what was replaced is removed");
    report
}

async fn verified(engine: &Engine) -> Result<(), TestCaseError> {
    let verified = jobs::verify(&engine.installation, &run(), &Scope::default()).await.unwrap();
    prop_assert!(verified.is_clean(), "{:#?}", verified.differences);
    Ok(())
}

/// Delivers everything once more, in one file.
async fn again(engine: &Engine, lines: &[String]) {
    engine.ingest(&[file(lines, &(0..lines.len()).collect::<Vec<usize>>())]).await;
}

async fn recomputed(engine: &Engine) {
    let far = |day: &str| day.parse().unwrap();
    jobs::backfill(&engine.installation, &run(), far("2026-02-01"), far("2026-04-01"), &[]).await.unwrap();
}

fn erasing_changes_no_number_and_no_answer(on: On) {
    let runtime = Runtime::new().unwrap();
    let mut config = config(on);
    // Each case erases several times, and compares all that anybody is told.
    config.cases = config.cases.div_ceil(4);
    let masked = std::cell::Cell::new(0);
    let users = prop::sample::subsequence(USERS.to_vec(), 1..=USERS.len());
    TestRunner::new(config)
        .run(&(personal_events_and_delivery(), users, any::<bool>()), |((lines, delivery), users, at_once)| {
            runtime.block_on(async {
                let users: Vec<Uuid> = users.iter().map(|user| parse_guid(user).unwrap()).collect();
                let untouched = deliver(on, &lines, &delivery).await;
                let engine = deliver(on, &lines, &delivery).await;
                let before = told(&untouched).await;
                for some in users.chunks(if at_once { users.len() } else { 1 }) {
                    masked.set(masked.get() + erase(&engine, some).await.lines);
                    prop_assert_eq!(&told(&engine).await, &before);
                }
                verified(&engine).await?;
                prop_assert_eq!(erase(&engine, &users).await.lines, 0);
                recomputed(&engine).await;
                prop_assert_eq!(&told(&engine).await, &before);
                for of in [&untouched, &engine] {
                    again(of, &lines).await;
                }
                let twice: Told = told(&untouched).await;
                prop_assert_eq!(&told(&engine).await, &twice);
                prop_assert_eq!(erase(&engine, &users).await.lines, 0, "what came again was masked");
                verified(&engine).await
            })
        })
        .unwrap();
    println!("{} lines were masked", masked.get());
    assert!(masked.get() > 0 || on == On::Postgres);
}

/// Contents of one identity and instant: which of them counts is told by what is erased.
fn erasing_keeps_the_order_of_contents(on: On) {
    let runtime = Runtime::new().unwrap();
    let config = config(on);
    let texts = ("[a-z]{1,3}", any::<bool>(), 0..3_usize, 0..2_usize, 1..3_usize);
    TestRunner::new(config)
        .run(&(prop::collection::vec(texts, 1..12), 0..4_usize, 0..4_usize), |(texts, first, second)| {
            let lines: Vec<String> = texts
                .iter()
                .map(|(name, is_guest, user, id, day)| {
                    let group = if *is_guest { "Guest" } else { "Professional" };
                    let data = format!(r#""groupType":"{group}","emailAddress":"{name}@x","firstName":"{name}""#);
                    format!(
                        r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"user.invited","subject":"{}","time":"2026-03-0{day}T00:00:00Z","data":{{"userGuid":"{}",{data}}}}}"#,
                        USERS[3], USERS[*user]
                    )
                })
                .collect();
            // Segments of several batches, each of one day or of both.
            let batch = |from: usize, to: usize| vec![(from.min(lines.len())..to.min(lines.len())).collect()];
            let runs = vec![batch(0, first), batch(first, first + second), batch(first + second, lines.len())];
            let delivery = Delivery { zone: chrono_tz::Tz::UTC, threads: "1", rows_together: "20", runs };
            runtime.block_on(async {
                let engine = deliver(on, &lines, &delivery).await;
                let before = told(&engine).await;
                for user in &USERS[..3] {
                    erase(&engine, &[parse_guid(user).unwrap()]).await;
                    recomputed(&engine).await;
                    prop_assert_eq!(&told(&engine).await, &before);
                }
                again(&engine, &lines).await;
                let after = told(&engine).await;
                prop_assert_eq!(&after.exports, &before.exports);
                prop_assert_eq!(after.ledger.stored, before.ledger.stored);
                verified(&engine).await
            })
        })
        .unwrap();
}

/// Contents are dropped before some users are erased, and of the rest of the days afterwards.
fn what_comes_again_on_a_bare_day_is_a_copy_before_and_after_its_user_is_erased(on: On) {
    let runtime = Runtime::new().unwrap();
    let mut config = config(on);
    // Each case delivers everything twice to two engines.
    config.cases = config.cases.div_ceil(8);
    let dropped = std::cell::Cell::new(0);
    let users = prop::sample::subsequence(USERS.to_vec(), 1..=USERS.len());
    TestRunner::new(config)
        .run(&(personal_events_and_delivery(), users, any::<bool>()), |((lines, delivery), users, early)| {
            runtime.block_on(async {
                let users: Vec<Uuid> = users.iter().map(|user| parse_guid(user).unwrap()).collect();
                let rules = [("event_log.retention", "1day"), ("rollup.settle_after", "0s")];
                let settings: Vec<_> = delivery.settings().into_iter().chain(rules).collect();
                let untouched = Engine::new(on, LATER, &settings).await;
                let engine = Engine::new(on, LATER, &settings).await;
                for of in [&untouched, &engine] {
                    again(of, &lines).await;
                    lock(of).await;
                    if early {
                        dropped.set(dropped.get() + drop_contents(of).await.lines);
                    }
                }
                erase(&engine, &users).await;
                for of in [&untouched, &engine] {
                    dropped.set(dropped.get() + drop_contents(of).await.lines);
                }
                prop_assert_eq!(told(&engine).await, told(&untouched).await);
                for of in [&untouched, &engine] {
                    again(of, &lines).await;
                }
                prop_assert_eq!(told(&engine).await, told(&untouched).await);
                let ledger = engine.ledger().await;
                prop_assert_eq!(ledger.lines - ledger.rejected, ledger.stored + ledger.duplicate);
                prop_assert!(ledger.duplicate >= ledger.stored, "{:?}", ledger);
                verified(&engine).await
            })
        })
        .unwrap();
    assert!(dropped.get() > 0 || on == On::Postgres, "no case had anything to drop");
}
