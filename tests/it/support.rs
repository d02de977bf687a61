//! An installation of its own for each test: the engine as a library, and the real binary.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection as _;
use tempfile::TempDir;
use usage_rollup::clock::Clock;
use usage_rollup::config::{Config, Layers};
use usage_rollup::ingest::source::{FileSource, Source};
use usage_rollup::jobs::{self, IngestReport, Installation, Reading, Run, Wanted};
use usage_rollup::model::PeriodType;
use usage_rollup::store::{InputKind, Ledger, RowFilter, StoreUrl};
use usage_rollup::usage::export::{ExportFormat, export};

use super::stores::{Database, On};

/// The engine, called as a library.
pub struct Engine {
    dir: TempDir,
    pub installation: Installation,
    pub database: Database,
}

impl Engine {
    /// A new installation with these settings.
    pub async fn new(on: On, now: &str, settings: &[(&str, &str)]) -> Self {
        let (dir, database) = (tempfile::tempdir().unwrap(), Database::new(on));
        let mut layers = Layers::read(Some(Path::new("config/default.toml"))).unwrap();
        layers.set("store.url", database.url(), "test").unwrap();
        for (key, value) in settings {
            layers.set(key, (*value).to_owned(), "test").unwrap();
        }
        let data_dir = dir.path().join("data");
        let config = Config::from_layers(&layers, &data_dir).unwrap();
        let clock: Clock = now.parse().unwrap();
        Self { installation: Installation::open(&data_dir, config, clock).await.unwrap(), dir, database }
    }

    /// Ingests these contents as files, in one run.
    pub async fn ingest(&self, contents: &[Vec<u8>]) -> IngestReport {
        let sources = contents.iter().enumerate().map(|(number, content)| {
            let path = self.dir.path().join(format!("input-{number}"));
            fs::write(&path, content).unwrap();
            Source::File(FileSource::find(&path, InputKind::File).unwrap())
        });
        jobs::ingest(&self.installation, &run(), Wanted::Sources(sources.collect())).await.unwrap()
    }

    pub async fn export(&self, period_type: PeriodType) -> String {
        String::from_utf8(self.export_as(period_type, ExportFormat::Csv).await).unwrap()
    }

    pub async fn export_as(&self, period_type: PeriodType, format: ExportFormat) -> Vec<u8> {
        let filter = RowFilter { period_type, from: None, to: self.installation.today(), services: Vec::new() };
        let mut exported = Vec::new();
        export(&self.installation.store, &filter, format, &mut exported).await.unwrap();
        exported
    }

    /// The values of the one column that a statement selects, as a reader with SQL finds them.
    pub async fn view(&self, statement: &str) -> Vec<String> {
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        match &self.installation.config.store.url {
            StoreUrl::Sqlite(path) => {
                let mut reader = sqlx::SqliteConnection::connect(&format!("sqlite:{}", path.display())).await.unwrap();
                sqlx::query_scalar(statement).fetch_all(&mut reader).await.unwrap()
            }
            StoreUrl::Postgres(_) => {
                let mut reader = sqlx::PgConnection::connect(&self.database.url()).await.unwrap();
                sqlx::query_scalar(statement).fetch_all(&mut reader).await.unwrap()
            }
        }
    }

    /// Runs a statement behind the engine's back.
    pub async fn change(&self, statement: &str) {
        self.database.change(&self.installation.config.store.url, statement).await;
    }

    /// The same installation, to be read.
    pub fn reading(&self) -> Reading {
        Reading::from(&self.installation)
    }

    pub async fn ledger(&self) -> Ledger {
        self.installation.store.ledger(None).await.unwrap()
    }
}

/// A run that nobody watches or stops.
pub fn run() -> Run {
    Run {
        purpose: "test",
        period: None,
        wait: Duration::from_secs(30),
        interrupted: Arc::default(),
        progress: Arc::new(|_| {}),
    }
}

/// Asks a process to stop, as service managers do.
pub fn terminate(child: &Child) {
    // The shell's own kill: a slim system has no other.
    let status = Command::new("sh").arg("-c").arg(format!("kill -TERM {}", child.id())).status().unwrap();
    assert!(status.success());
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_all(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// The real binary, on a data directory and a database of its own.
pub struct Binary {
    dir: TempDir,
    database: Database,
    settings: Vec<(String, String)>,
}

impl Binary {
    pub fn new(on: On) -> Self {
        let database = Database::new(on);
        let url = ("USAGE_ROLLUP__STORE__URL".to_owned(), database.url());
        Self { dir: tempfile::tempdir().unwrap(), database, settings: vec![url] }
    }

    /// One whose store is at this URL.
    pub fn at(url: &str) -> Self {
        Self::new(On::Sqlite).with("USAGE_ROLLUP__STORE__URL", url)
    }

    /// The same installation and files once more. Nobody may be at work on it.
    pub fn copied(&self) -> Self {
        let database = self.database.copied();
        let mut settings = self.settings.clone();
        settings[0].1 = database.url();
        let dir = tempfile::tempdir().unwrap();
        copy_all(self.dir.path(), dir.path());
        Self { dir, database, settings }
    }

    /// Forgets everything that was stored.
    pub fn reset(&self) {
        fs::remove_dir_all(self.path("data")).unwrap();
        self.reset_database();
    }

    /// Makes a database on the server empty again, and leaves the data directory as it is.
    pub fn reset_database(&self) {
        self.database.reset();
    }

    /// What the database on the server is called.
    pub fn database(&self) -> &str {
        self.database.name()
    }

    /// What a statement answers in one column, as a reader with SQL finds it.
    pub fn sql(&self, statement: &str) -> Vec<String> {
        if self.database.url().is_empty() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let path = format!("sqlite:{}", self.path("data/usage.db").display());
            return runtime.block_on(async {
                let mut on = sqlx::SqliteConnection::connect(&path).await.unwrap();
                sqlx::query_scalar(sqlx::AssertSqlSafe(statement.to_owned())).fetch_all(&mut on).await.unwrap()
            });
        }
        let answer = super::stores::server().sql(self.database.name(), statement);
        answer.lines().map(str::to_owned).collect()
    }

    /// Sets an environment variable for every call.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A path within the test's own directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_usage-rollup"));
        self.settle(command.args(args));
        command
    }

    /// Gives a command that runs the program itself this directory and these settings.
    pub fn settle(&self, command: &mut Command) {
        command.current_dir(self.dir.path()).envs(self.settings.iter().map(|(name, value)| (name, value)));
    }

    /// Runs a script in the test's directory that may mount file systems, which nobody else sees: `$0` is the program.
    pub fn in_own_mounts(&self, script: &str, argument: &str) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", script, env!("CARGO_BIN_EXE_usage-rollup"), argument]);
        self.settle(&mut command);
        command
    }

    /// Runs such a script to its end.
    pub fn within_own_mounts(&self, script: &str, argument: &str) -> Output {
        let mut command = self.in_own_mounts(script, argument);
        let output = command.output().expect("unshare is missing: apt-get install util-linux");
        let told = String::from_utf8_lossy(&output.stderr);
        let is_refused = output.status.code() == Some(99) || told.starts_with("unshare:");
        assert!(
            !is_refused,
            "this test mounts a tmpfs in a user namespace, which the system refuses; WITHOUT_MOUNTS=1 leaves it out: {told}"
        );
        output
    }

    /// Runs a script among the mounts of a process that was begun so, where that process is; it must succeed. Gives its standard output.
    pub fn beside(&self, process: &Child, script: &str) -> String {
        let target = process.id().to_string();
        let mut command = Command::new("nsenter");
        command.args(["--target", &target, "--user", "--preserve-credentials", "--mount", "--wd"]);
        self.settle(command.args(["sh", "-ec", script, env!("CARGO_BIN_EXE_usage-rollup")]));
        let output = command.output().expect("nsenter is missing: apt-get install util-linux");
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a command that must succeed, and gives its standard output.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that must end with this exit code, and gives its standard error.
    pub fn fails(&self, code: i32, args: &[&str]) -> String {
        let output = self.run(args);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        stderr
    }
}
