//! What decoding one line costs, held against `serde_json` on the same lines in the same run.

use std::collections::HashMap;
use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use usage_rollup::ingest::decode::Decoder;
use usage_rollup::model::Instant;

const LINES: usize = 5_000;

/// Lines of `usage-rollup generate`, from the file that `DECODE_BENCH_FILE` names.
fn lines() -> Vec<u8> {
    let file = std::env::var_os("DECODE_BENCH_FILE").expect("DECODE_BENCH_FILE names a file of events");
    let bytes = std::fs::read(Path::new(&file)).expect("readable");
    // The first events of a file set services up, which later ones seldom do.
    let lines = bytes.split_inclusive(|byte| *byte == b'\n').skip(bytes.len() / 800);
    lines.take(LINES).flatten().copied().collect()
}

fn decode(criterion: &mut Criterion) {
    let bytes = lines();
    let decoder =
        Decoder::new(HashMap::new(), Instant::from_seconds(946_684_800), Instant::from_seconds(1_900_000_000));
    let each = || bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(each().count() as u64));
    group.bench_function("line by line", |bencher| {
        bencher.iter(|| {
            for line in each() {
                black_box(decoder.decode(line).expect("valid"));
            }
        });
    });
    group.bench_function("lines of a text", |bencher| {
        bencher.iter(|| {
            let text = simdutf8::basic::from_utf8(&bytes).expect("UTF-8");
            let mut lines = decoder.lines(text);
            let mut start = 0;
            for end in memchr::memchr_iter(b'\n', &bytes) {
                black_box(lines.decode(start..end).expect("valid"));
                start = end + 1;
            }
        });
    });
    group.bench_function("serde_json::Value", |bencher| {
        bencher.iter(|| {
            for line in each() {
                black_box(serde_json::from_slice::<serde_json::Value>(line).expect("valid"));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
