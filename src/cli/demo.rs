use std::path::PathBuf;

use anyhow::Context as _;
use indicatif::{HumanBytes, HumanCount};
use tokio::net::TcpListener;

use super::output::{print, table};
use super::{Options, Outcome, WrongUsage, signals};
use crate::config::Config;
use crate::daemon;
use crate::generate::{Plan, write_files};
use crate::ingest::source::{FileSource, Source};
use crate::jobs::{self, IngestReport, Installation, Wanted};
use crate::model::{Numbers, PeriodType, UsageRow};
use crate::store::{InputKind, StoreUrl};

const EVENTS: u64 = 250_000;
const SERVICES: u32 = 40;
const USERS: u32 = 4_000;
const DAYS: u32 = 60;
const BUSIEST: i64 = 10;

/// A realistic sample in a fresh directory, rolled up and served: see what it does before you feed it yours
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

impl Args {
    pub async fn run(self, options: &Options) -> anyhow::Result<Outcome> {
        let data_dir = fresh_dir(options)?;
        let mut layers = options.layers()?;
        layers.set("api.auth", "off".to_owned(), "the demo")?;
        let mut config = Config::from_layers(&layers, &data_dir)?;
        if !options.quiet {
            // It tells of the files that it takes, and of what goes wrong.
            crate::telemetry::start("warn,usage_rollup::daemon=info", options.log_format);
        }
        let listener = free_listener(&mut config).await?;
        let installation = Installation::open(&data_dir, config, options.clock()).await?;
        let url = &installation.config.store.url;
        if installation.store.next_input_id().await? > 1 {
            return Err(WrongUsage(format!("the store {url} is not empty; the demo wants a fresh one")).into());
        }

        let events = HumanCount(EVENTS);
        print(&format!("Making {events} events of {SERVICES} services over {DAYS} days, and rolling them up …\n"))?;
        let sample = make_sample(&installation)?;
        let started = std::time::Instant::now();
        let report = jobs::ingest(&installation, &options.run("demo"), Wanted::Sources(sample)).await?;
        print(&told(&installation, &report, started.elapsed().as_secs_f64()).await?)?;
        let (config, clock, stop) = (installation.config.clone(), installation.clock, signals::stop());
        daemon::run(&config, clock, listener, stop, async || Ok(installation.clone())).await?;
        print("Stopped. The directory is left as it is, for you to look at or to remove.\n")?;
        Ok(Outcome::Done)
    }
}

/// The directory that was named, if it is empty or not there yet; else a new one among the temporary files.
fn fresh_dir(options: &Options) -> anyhow::Result<PathBuf> {
    if options.data_dir.as_os_str() == super::DEFAULT_DATA_DIR {
        let name = format!("usage-rollup-demo-{}", uuid::Uuid::now_v7().simple());
        return Ok(std::env::temp_dir().join(name));
    }
    let is_fresh = std::fs::read_dir(&options.data_dir).map_or(true, |mut entries| entries.next().is_none());
    if is_fresh {
        Ok(options.data_dir.clone())
    } else {
        Err(WrongUsage(format!(
            "{} is not empty; the demo wants a fresh --data-dir, or none",
            options.data_dir.display()
        ))
        .into())
    }
}

/// The configured address, or a free port where that is taken.
async fn free_listener(config: &mut Config) -> anyhow::Result<TcpListener> {
    let listener = match TcpListener::bind(config.api.listen).await {
        Ok(listener) => listener,
        Err(_) => TcpListener::bind("127.0.0.1:0").await.context("cannot listen on any port")?,
    };
    config.api.listen = listener.local_addr()?;
    Ok(listener)
}

/// Generates the sample beside the inbox, and renames it into place as a producer would. It is known to be whole, so nothing
/// needs to wait for it as for a producer's.
fn make_sample(installation: &Installation) -> anyhow::Result<Vec<Source>> {
    let plan = Plan {
        events: EVENTS,
        services: SERVICES,
        users: USERS,
        days: DAYS,
        seed: 1,
        end: crate::model::Day::utc_of(installation.now()).previous().date(),
    };
    let sample = installation.data_dir.join("sample");
    let inbox = &installation.config.ingest.inbox;
    std::fs::create_dir_all(inbox)?;
    let mut sources = Vec::new();
    for file in write_files(&plan, &sample, &mut |_| {})? {
        let placed = inbox.join(file.file_name().unwrap_or_default());
        std::fs::rename(&file, &placed)?;
        sources.push(Source::File(FileSource::find(&placed, InputKind::Inbox)?));
    }
    std::fs::remove_dir(&sample)?;
    Ok(sources)
}

/// What there is to see, and what to try.
async fn told(installation: &Installation, report: &IngestReport, seconds: f64) -> anyhow::Result<String> {
    let month = installation.today().previous().month();
    let busiest = installation.store.busiest_services(PeriodType::Monthly, month, BUSIEST).await?;
    let mut rows = table(["service", "guid", "pro users", "guests", "messages", "attachments", "storage"]);
    let mut example = String::new();
    for row in &busiest {
        let entry = installation.store.service(row.service).await?.unwrap_or_default();
        if example.is_empty() && !entry.status().hides_usage() {
            example = row.service.simple().to_string();
        }
        let shown = |column: &str| number(row, column).to_string();
        rows.add_row([
            entry.name.clone().unwrap_or_default(),
            row.service.simple().to_string(),
            shown("pro_user_count"),
            shown("guest_user_count"),
            shown("total_message_count"),
            shown("total_attachment_count"),
            HumanBytes(number(row, "attachment_storage_usage").cast_unsigned()).to_string(),
        ]);
    }
    let address = installation.config.api.listen;
    // By the name that it was called by, so that the lines work as they stand.
    let program = std::env::args().next().unwrap_or_else(|| "usage-rollup".to_owned());
    let dir = installation.data_dir.display();
    let store = match &installation.config.store.url {
        StoreUrl::Sqlite(path) => path.file_name().unwrap_or_default().display().to_string(),
        StoreUrl::Postgres(_) => "on the server".to_owned(),
    };
    Ok(format!(
        "\n{} lines in {seconds:.2} s: {} stored, {} duplicate, {} rejected; {} rows written.\n\n\
         The busiest services of the month from {month}:\n\n{}\n\n\
         Everything lies in {dir}:\n\
         \x20 {store:<19} rows, directory and catalog\n\
         \x20 events/             every event, as Parquet: open it with DuckDB or Polars\n\
         \x20 inbox/              drop NDJSON files of events here, and they are taken within seconds\n\n\
         The API listens on http://{address} (without keys, because this is a demo). Try:\n\n\
         \x20 curl 'http://{address}/api/services/{example}/serviceusage?PeriodType=Monthly'\n\
         \x20 {program} --data-dir {dir} export --period-type monthly\n\
         \x20 {program} --data-dir {dir} status\n\n\
         Ctrl-C stops it.\n",
        count(report.lines),
        count(report.stored),
        count(report.duplicate),
        count(report.rejected),
        HumanCount(report.rows_written),
        rows.trim_fmt(),
    ))
}

fn count(number: i64) -> HumanCount {
    HumanCount(number.unsigned_abs())
}

fn number(row: &UsageRow, column: &str) -> i64 {
    Numbers::COLUMNS.iter().position(|name| *name == column).map_or(0, |index| row.numbers.0[index])
}
