//! Whatever is delivered, verifying finds nothing; and what explains a number adds up to it.

use std::pin::pin;

use futures_util::TryStreamExt as _;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tokio::runtime::Runtime;
use usage_rollup::audit::explain::{Answer, Field};
use usage_rollup::jobs::{self, Asked, Scope};
use usage_rollup::model::{PeriodType, UsageRow};
use usage_rollup::store::RowFilter;

use super::laws::{config, deliver, events_and_delivery, thousand};
use super::stores::{On, on_each_store};
use super::support::{Engine, run};

on_each_store!(what_was_delivered_verifies, every_number_is_explained,);

pub async fn rows(engine: &Engine) -> Vec<UsageRow> {
    let mut all = Vec::new();
    for period_type in [PeriodType::Daily, PeriodType::Monthly] {
        let filter = RowFilter { period_type, from: None, to: engine.installation.today(), services: Vec::new() };
        let mut rows = pin!(engine.installation.store.usage_rows(&filter, None));
        while let Some(row) = rows.try_next().await.unwrap() {
            all.push(row);
        }
    }
    all
}

/// What is listed, added up.
fn sum(answer: &Answer) -> i128 {
    let opening = answer.opening.iter().map(|opening| opening.contribution).sum::<i128>();
    let events = answer.events.iter().map(|entry| entry.contribution).sum::<i128>();
    let users = answer.users.iter().map(|user| user.contribution).sum::<i128>();
    opening + events + users + answer.more.contribution
}

/// Law 7.
fn what_was_delivered_verifies(on: On) {
    let runtime = Runtime::new().unwrap();
    TestRunner::new(thousand(on))
        .run(&events_and_delivery(), |(lines, delivery)| {
            runtime.block_on(async {
                let engine = deliver(on, &lines, &delivery).await;
                let verified = jobs::verify(&engine.installation, &run(), &Scope::default()).await.unwrap();
                prop_assert!(verified.is_clean(), "{:#?}", verified.differences);
                prop_assert_eq!((verified.pending.days, verified.pending.services), (0, 0));
                Ok(())
            })
        })
        .unwrap();
}

fn every_number_is_explained(on: On) {
    let runtime = Runtime::new().unwrap();
    let mut config = config(on);
    // Each case asks hundreds of questions.
    config.cases = config.cases.div_ceil(3);
    let limits = prop::sample::select(vec![0, 1, 1_000]);
    TestRunner::new(config)
        .run(&(events_and_delivery(), limits, any::<bool>()), |((lines, delivery), limit, all)| {
            runtime.block_on(async {
                let engine = deliver(on, &lines, &delivery).await;
                let reading = engine.reading();
                for (row, number) in rows(&engine).await.iter().zip(0..) {
                    // Every number of some rows, and every third of the others.
                    for (field, at) in Field::all().zip(0..).filter(|(_, at)| number % 5 == 0 || (number + at) % 3 == 0)
                    {
                        let (service, period_type, period) = (row.service, row.period_type, row.period);
                        let asked = Asked { service, period_type, period, field, limit, all };
                        let answer = Box::pin(jobs::explain(&reading, asked)).await.unwrap();
                        let expected = if at < 13 { row.numbers.0[at] } else { row.event_count };
                        prop_assert_eq!(answer.number, expected, "{} of {:?}: {:#?}", field.name(), row, answer);
                        prop_assert_eq!(sum(&answer) + answer.cut, i128::from(expected), "{:#?}", answer);
                        prop_assert_eq!(answer.remark.as_deref(), None);
                        prop_assert_eq!(answer.row.map(|row| row.number), Some(expected));
                    }
                }
                Ok(())
            })
        })
        .unwrap();
}
