//! How the server finds what is asked of it: never by going through a table that grows.

use std::collections::BTreeSet;

use usage_rollup::jobs;
use usage_rollup::model::PeriodType;
use usage_rollup::store::{InputKind, RowFilter, ServiceFilter, StoreError, VersionFilter, Window};
use usage_rollup::usage::export::{ExportFormat, export, export_as_of};
use usage_rollup::usage::restatements::restatements;
use uuid::Uuid;

use super::stores::{On, server};
use super::support::{Engine, run};

const NOW: &str = "2026-03-31T12:00:00Z";

/// Statements that want all of a table, or count it.
const OF_ALL: [&str; 10] = [
    "SELECT path FROM segments",
    "count(*)",
    "sum(lines)",
    "FROM service_entries ORDER BY created_on",
    "SELECT service_guid AS entry_guid, document FROM service_entries",
    "SELECT 1 FROM usage_tombstones LIMIT 1",
    "FROM period_locks l LEFT JOIN usage_pending",
    "FROM discarded_segments ORDER BY path",
    "FROM erased_users",
    "FROM erased_emails",
];

/// Fills the tables, so that going through them would cost more than their indexes do.
const FILL: &str = "
    INSERT INTO inputs (id, name, kind, state, signature, next_offset, next_line, lines, accepted, rejected, changed_at)
        SELECT n, 'file-' || n, 'file', 'done', '', 0, 0, 1, 1, 0, now() FROM generate_series(1000, 50000) n;
    INSERT INTO segments SELECT gen_random_uuid(), 'path-' || n, 1, 1, '', 1, '', now() FROM generate_series(1, 20000) n;
    INSERT INTO segment_partitions SELECT n % 4000, id, 0, 1 FROM (SELECT row_number() OVER () AS n, id FROM segments) s
        ON CONFLICT DO NOTHING;
    INSERT INTO dead_letters (input_id, line, byte_offset, reason, member, detail, content, length, hash, rejected_at)
        SELECT 1000 + n, 1, 0, (ARRAY['invalid_json', 'invalid_data'])[1 + n % 2], '', '', '', 0, sha256(''), now()
        FROM generate_series(1, 40000) n;
    INSERT INTO voids SELECT n % 4000, gen_random_uuid(), n, '', '' FROM generate_series(1, 50000) n;
    CREATE TABLE guids AS SELECT gen_random_uuid() AS guid FROM generate_series(1, 5000);
    INSERT INTO service_progress SELECT guid, 20000, '', 20000, 30000, NULL FROM guids;
    INSERT INTO service_spans SELECT m, guid, '' FROM guids, generate_series(10000, 10010) m;
    INSERT INTO users SELECT guid, gen_random_uuid(), '' FROM guids, generate_series(1, 10);
    INSERT INTO service_patches SELECT guid, d, 0, 0, '{}' FROM guids, generate_series(1, 5) d;
    INSERT INTO service_entries SELECT guid, '', '', NULL, NULL, '{}' FROM guids;
    INSERT INTO service_usage SELECT guid, 'Daily', to_char(date '2025-01-01' + d, 'YYYY-MM-DD'),
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, decode(repeat('00', 16), 'hex'), false, 1, 'closed', now(), now()
        FROM guids, generate_series(1, 40) d;
    INSERT INTO first_closings SELECT 'Daily', to_char(date '2010-01-01' + d, 'YYYY-MM-DD'), timestamptz '1970-01-01T00:00:00Z'
        FROM generate_series(1, 5000) d;
    INSERT INTO usage_history SELECT u.*, 1, now(), 'late', 1 FROM service_usage u WHERE state = 'closed';
    INSERT INTO usage_tombstones SELECT guid, 'Daily', '2024-01-01', 1, now(), 1 FROM guids;
    INSERT INTO usage_pending SELECT '2024-02-01', service_guid, period_type, period, false,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, input_digest, false, 1 FROM service_usage LIMIT 50000;
    INSERT INTO content_orders SELECT n % 4000, sha256(n::text::bytea), n FROM generate_series(1, 50000) n;
    INSERT INTO row_commits SELECT n, n FROM generate_series(1, 50000) n;
    INSERT INTO job_runs SELECT n, 'ingest', now(), now(), 'done' FROM generate_series(1000, 50000) n;
    INSERT INTO api_keys SELECT n::text, '', 'Service', NULL, sha256(n::text::bytea), now() FROM generate_series(1, 9000) n;
    DROP TABLE guids;";

/// Has every statement's plan written to the server's log.
const EXPLAIN: &str = "
    ALTER DATABASE $ SET session_preload_libraries = 'auto_explain';
    ALTER DATABASE $ SET auto_explain.log_min_duration = 0;
    ALTER DATABASE $ SET auto_explain.log_nested_statements = on;
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '$' AND pid <> pg_backend_pid();";

fn used(service: Uuid, id: u32) -> String {
    let (day, time) = (1 + id % 28, id % 24);
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"message.sent","subject":"{service}","time":"2026-03-{day:02}T{time:02}:00:00Z","data":{{"messageGuid":"{}","userGuid":"{}"}}}}"#,
        Uuid::from_u128(id.into()),
        Uuid::from_u128(u128::from(id % 7)),
    )
}

/// The tables that a plan goes through, with the statement, of all plans in the server's log.
fn walked_through(database: &str) -> BTreeSet<(String, String)> {
    let log = std::fs::read_to_string(server().path("log")).unwrap();
    let mut walked = BTreeSet::new();
    let mut statement = String::new();
    let mut plans = 0;
    for line in log.lines() {
        if let Some((of, _)) = line.split_once("|LOG:  duration:") {
            plans += usize::from(of == database);
            statement = if of == database { "…".to_owned() } else { String::new() };
        } else if let Some((_, text)) = line.split_once("Query Text: ") {
            statement = if statement.is_empty() { String::new() } else { text.to_owned() };
        } else if !statement.is_empty() {
            if let Some((_, rest)) = line.split_once("Seq Scan on ") {
                let table = rest.split_whitespace().next().unwrap_or_default().to_owned();
                walked.insert((table, statement.clone()));
            } else if !line.contains("(cost=") && !line.contains(": ") {
                statement.push_str(line);
            }
        }
    }
    assert!(plans > 50, "{plans} plans were logged");
    walked
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_goes_through_a_table_that_grows() {
    let engine = Engine::new(On::Postgres, NOW, &[]).await;
    let services = [Uuid::from_u128(1), Uuid::from_u128(2)];
    let lines = |ids: std::ops::Range<u32>| -> Vec<u8> {
        let line = |id| used(services[id as usize % 2], id) + "\n";
        ids.map(line).collect::<String>().into_bytes()
    };
    engine.ingest(&[lines(0..200)]).await;
    let database = engine.database.name();
    server().sql(database, FILL);
    server().sql(database, "VACUUM ANALYZE");
    server().sql(database, &EXPLAIN.replace('$', database));

    // Each often enough for the server to think of a plan for all parameters.
    let store = &engine.installation.store;
    for round in 0..7 {
        engine.ingest(&[lines(round * 50..round * 50 + 300), b"not an event\n".to_vec()]).await;
        let day = engine.installation.today().previous();
        jobs::backfill(&engine.installation, &run(), day, day, &services[..1]).await.unwrap();
        store.usage_row(services[0], PeriodType::Daily, day).await.unwrap();
        store.busiest_services(PeriodType::Daily, day, 10).await.unwrap();
        let commit = store.commit_as_of(engine.installation.now()).await.unwrap();
        store.usage_row_as_of(services[0], PeriodType::Daily, day, commit).await.unwrap();
        let filter = VersionFilter { from: day.month(), to: day, services: services.to_vec() };
        restatements(store, &filter, |_| Ok::<(), StoreError>(())).await.unwrap();
        let month = "2024-01-01".parse().unwrap();
        jobs::lock_month(&engine.installation, &run(), month).await.unwrap();
        store.locked_months().await.unwrap();
        jobs::unlock_month(&engine.installation, &run(), month).await.unwrap();
        jobs::plan_backfill(&engine.installation, &run(), day, day, &services[..1]).await.unwrap();
        store.service(services[0]).await.unwrap();
        let (all, window) = (ServiceFilter::default(), Window { limit: 25, offset: 100 });
        store.list_services(&all, window).await.unwrap();
        store.list_usage(&all, window, PeriodType::Daily, day).await.unwrap();
        store.search_services(&all, window, |_| true).await.unwrap();
        store.was_locked(month, commit).await.unwrap();
        store.key_by_hash([0; 32]).await.unwrap();
        store.revoke_key("7", engine.installation.now()).await.unwrap();
        store.dead_letters(None, 39_000, 100).await.unwrap();
        store.last_reading("file-2000", InputKind::File, "").await.unwrap();
        store.readings_cut_short("file-2000", InputKind::File, "").await.unwrap();
        store.ledger(Some(&[2_000, 2_001])).await.unwrap();
        store.status(engine.installation.now()).await.unwrap();
        for services in [Vec::new(), services.to_vec()] {
            let filter = RowFilter { period_type: PeriodType::Daily, from: None, to: day, services };
            export(store, &filter, ExportFormat::Csv, &mut Vec::new()).await.unwrap();
            let now = engine.installation.now();
            export_as_of(store, &filter, now, ExportFormat::Csv, &mut Vec::new()).await.unwrap();
        }
    }

    let small = [
        "lease",
        "settings",
        "state_changes",
        "dirty_partitions",
        "discarded_segments",
        "period_locks",
        "_sqlx_migrations",
    ];
    let is_fine = |(table, statement): &(String, String)| {
        small.contains(&table.as_str()) || OF_ALL.iter().any(|all| statement.contains(all))
    };
    let (fine, others): (Vec<_>, Vec<_>) = walked_through(database).into_iter().partition(is_fine);
    assert!(fine.iter().any(|(table, _)| table == "segments"), "it is seen that all live segments are read: {fine:#?}");
    assert!(others.is_empty(), "{others:#?}");
}
