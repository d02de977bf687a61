//! The event log and what is folded from it: writing segments, reading the columns that rollup looks at beside the parquet
//! crate's reader, contents as bytes beside events made of them, folding a whole day beside one service of it and beside the
//! day delivered twice, and the identity's hash beside BLAKE3.

use std::collections::HashMap;
use std::hint::black_box;

use chrono::NaiveDate;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use usage_rollup::event_log::{
    Block, BlockReader, EventLogDir, EventLogError, EventRows, PackedEvents, Segment, SegmentReader, SegmentWriter,
};
use usage_rollup::generate::{self, Plan};
use usage_rollup::ingest::decode::Decoder;
use usage_rollup::model::{IdentityHash, Instant, Masks, SourceHash, Zone, content};
use usage_rollup::rollup::{ALL_SERVICES, FoldRules, Folder, PartitionTask};
use uuid::Uuid;

/// What rollup reads, as the parquet crate is asked for it.
const COLUMNS: [&str; 15] = [
    "service_guid",
    "time",
    "source",
    "id_guid",
    "id",
    "type",
    "user_guid",
    "group_type",
    "feature",
    "quantity",
    "size_bytes",
    "attachments.list.item.size_bytes",
    "input",
    "is_copy",
    "service_patch",
];

struct Log {
    _home: tempfile::TempDir,
    dir: EventLogDir,
    packs: Vec<PackedEvents>,
    /// That with the most rows, all of one day.
    largest: Segment,
    /// The same rows, delivered again.
    again: Segment,
}

/// Two days of 100,000 events each.
fn log() -> Log {
    let end = NaiveDate::from_ymd_opt(2026, 3, 31).expect("a date");
    let plan = Plan { events: 200_000, services: 5_000, users: 50_000, days: 2, seed: 7, end };
    let mut lines = Vec::new();
    generate::write(&plan, &mut lines, &mut |_| {}).expect("a possible plan, and a vector takes everything");
    let decoder = Decoder::new(HashMap::new(), Instant::from_nanos(0), Instant::from_nanos(i64::MAX));
    let mut pack = PackedEvents::of_input(1, lines.len());
    for (line, number) in lines.split(|byte| *byte == b'\n').zip(1..).filter(|(line, _)| !line.is_empty()) {
        pack.push(&decoder.decode(line).expect("a valid line"), number);
    }
    let home = tempfile::tempdir().expect("a temporary directory");
    let dir = EventLogDir::open(home.path()).expect("a writable directory");
    let packs = vec![pack];
    let writer = SegmentWriter::new(dir.clone(), 1);
    let [largest, again] = [(); 2].map(|()| {
        let segments = writer.write(&packs).expect("a writable directory").into_iter();
        let largest = segments.filter(|segment| segment.partitions.len() == 1).max_by_key(|segment| segment.rows);
        largest.expect("a day with many rows has a segment of its own")
    });
    Log { _home: home, dir, packs, largest, again }
}

fn write(criterion: &mut Criterion, log: &Log) {
    let mut group = criterion.benchmark_group("segments");
    let events: usize = log.packs.iter().map(PackedEvents::len).sum();
    group.throughput(Throughput::Elements(events as u64)).sample_size(20);
    group.bench_function("write, fsync included", |bencher| {
        bencher.iter_batched(
            || tempfile::tempdir().expect("a temporary directory"),
            |home| {
                let dir = EventLogDir::open(home.path()).expect("a writable directory");
                SegmentWriter::new(dir, 1).write(&log.packs).expect("a writable directory");
                home
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn read(criterion: &mut Criterion, log: &Log) {
    let mut group = criterion.benchmark_group("columns of a day");
    group.throughput(Throughput::Elements(log.largest.rows)).sample_size(20);
    let rows = usize::try_from(log.largest.rows).expect("rows in memory");
    group.bench_function("blocks", |bencher| {
        bencher.iter(|| {
            let segment = SegmentReader::new(log.dir.clone()).open(&log.largest).expect("a whole segment");
            let mut reader = BlockReader::new(&segment, 0..rows);
            let (mut sources, mut block) = (Vec::new(), Block::default());
            while reader.next(&mut sources, &mut block).expect("a whole segment") {
                black_box(&block);
            }
        });
    });
    group.bench_function("the parquet crate's reader", |bencher| {
        bencher.iter(|| {
            let file = std::fs::File::open(log.dir.path_of(&log.largest.path)).expect("the segment is there");
            let builder = ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file");
            let mask = ProjectionMask::columns(builder.parquet_schema(), COLUMNS);
            let reader = builder.with_projection(mask).with_batch_size(16_384).build().expect("known columns");
            reader.for_each(|batch| _ = black_box(batch.expect("a whole file")));
        });
    });
    group.finish();
}

fn contents(criterion: &mut Criterion, log: &Log) {
    let mut group = criterion.benchmark_group("contents of a day, hashed");
    group.throughput(Throughput::Elements(log.largest.rows)).sample_size(20);
    let segment = SegmentReader::new(log.dir.clone()).open(&log.largest).expect("a whole segment");
    let masks = Masks::default();
    let rows: Vec<usize> = (0..usize::try_from(log.largest.rows).expect("rows in memory")).collect();
    group.bench_function("bytes", |bencher| {
        bencher.iter(|| {
            segment.contents(&rows, &masks, |content| _ = black_box(blake3::hash(content))).expect("a whole segment");
        });
    });
    group.bench_function("canonical text of events", |bencher| {
        bencher.iter(|| {
            let of_batch = segment.read_rows::<EventLogError>(&rows, |batch| {
                for event in EventRows::new(batch).iter() {
                    black_box(blake3::hash(content(event.event_type, &event.data).as_bytes()));
                }
                Ok(())
            });
            of_batch.expect("a whole segment");
        });
    });
    group.finish();
}

fn fold(criterion: &mut Criterion, log: &Log) {
    let rules =
        FoldRules { zone: Zone::UTC, identity_window: i64::MAX, rows_per_pass: 1 << 20, masks: Masks::default() };
    let partition = &log.largest.partitions[0];
    let rows = usize::try_from(partition.rows).expect("rows in memory");
    let segment = SegmentReader::new(log.dir.clone()).open(&log.largest).expect("a whole segment");
    let runs = segment.service_runs(0..rows, |_| true).expect("a whole segment");
    let service = Uuid::from_u128(runs[runs.len() / 2].service);
    // As in a server that has the segment open already.
    let folder = Folder::new(SegmentReader::new(log.dir.clone()), rules);
    let mut group = criterion.benchmark_group("fold");
    group.sample_size(20);
    let (once, twice) = (vec![&log.largest], vec![&log.largest, &log.again]);
    for (name, segments, services) in [
        ("a whole day", &once, None),
        ("one service of it", &once, Some(vec![service])),
        ("a whole day that was delivered twice", &twice, None),
    ] {
        let slices = segments.iter().map(|segment| ((*segment).clone(), segment.partitions[0].clone())).collect();
        let task = PartitionTask { day: partition.day, slices, voids: Vec::new(), orders: HashMap::new(), services };
        group.bench_with_input(BenchmarkId::from_parameter(name), &task, |bencher, task| {
            bencher.iter(|| {
                let recomputed = folder.fold(std::slice::from_ref(task), &[], &ALL_SERVICES);
                assert!(recomputed.unreadable.is_empty(), "a whole segment");
                recomputed
            });
        });
    }
    group.finish();
}

fn digest(criterion: &mut Criterion) {
    let (source, id) = ("/messaging/eu1", "6f0c7c4e-52a1-4d7e-9c1b-0f3f0c5b8a11");
    let seed = SourceHash::of(source);
    let mut group = criterion.benchmark_group("identity");
    group.bench_function("XXH3", |bencher| bencher.iter(|| IdentityHash::of(black_box(seed), black_box(id))));
    group.bench_function("BLAKE3", |bencher| bencher.iter(|| blake3::hash(black_box(id).as_bytes())));
    group.finish();
}

fn all(criterion: &mut Criterion) {
    let log = log();
    write(criterion, &log);
    read(criterion, &log);
    contents(criterion, &log);
    fold(criterion, &log);
    digest(criterion);
}

criterion_group!(benches, all);
criterion_main!(benches);
