//! Decoding lines: ours, and `serde_json` reading them into values, in one run. The lines are those of a generated sample, or
//! of the file that `DECODE_SAMPLE` names, of which every line must be valid.

use std::collections::HashMap;
use std::hint::black_box;

use chrono::NaiveDate;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use usage_rollup::generate::{self, Plan};
use usage_rollup::ingest::decode::Decoder;
use usage_rollup::model::Instant;

fn sample() -> String {
    if let Some(path) = std::env::var_os("DECODE_SAMPLE") {
        return std::fs::read_to_string(path).expect("DECODE_SAMPLE names a readable file of UTF-8");
    }
    let plan = Plan {
        events: 20_000,
        services: 200,
        users: 4_000,
        days: 30,
        seed: 7,
        end: NaiveDate::from_ymd_opt(2026, 3, 31).expect("a date"),
    };
    let mut lines = Vec::new();
    generate::write(&plan, &mut lines, &mut |_| {}).expect("a possible plan, and a vector takes everything");
    String::from_utf8(lines).expect("generated lines are UTF-8")
}

fn decode(criterion: &mut Criterion) {
    let text = sample();
    let count = text.lines().count();
    let decoder = Decoder::new(HashMap::new(), Instant::from_nanos(0), Instant::from_nanos(i64::MAX));
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(count as u64));
    group.bench_function("usage-rollup", |bencher| {
        bencher.iter(|| {
            let (mut lines, mut start) = (decoder.lines(&text), 0);
            for line in text.split_terminator('\n') {
                black_box(lines.decode(start..start + line.len()).expect("a valid line"));
                start += line.len() + 1;
            }
        });
    });
    group.bench_function("serde_json", |bencher| {
        bencher.iter(|| {
            for line in text.split_terminator('\n') {
                black_box(serde_json::from_slice::<serde_json::Value>(line.as_bytes()).expect("a valid line"));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
