//! The stores that the contract holds for: SQLite, and a PostgreSQL server that lives as long as the tests do.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::Connection as _;
use usage_rollup::store::StoreUrl;

/// Where a test's store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    Sqlite,
    Postgres,
}

impl On {
    /// How a statement spells bytes, which are given as hexadecimal digits.
    pub fn blob(self, hex: &str) -> String {
        if self == Self::Sqlite { format!("x'{hex}'") } else { format!("'\\x{hex}'") }
    }
}

/// Makes two tests of each function, one a store; the function is told which.
macro_rules! on_each_store {
    (async $($test:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::stores::On::Sqlite).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::stores::On::Postgres).await;
            })*
        }
    };
    ($($test:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[test]
            fn $test() {
                insta::allow_duplicates! { super::$test(crate::stores::On::Sqlite) }
            })*
        }
        mod on_postgres {
            $(#[test]
            fn $test() {
                insta::allow_duplicates! { super::$test(crate::stores::On::Postgres) }
            })*
        }
    };
}

pub(crate) use on_each_store;

/// A database of a test's own, which goes when the test ends. One of SQLite is a file in the data directory, and goes with that.
pub struct Database {
    /// On the server.
    name: Option<String>,
}

impl Database {
    pub fn new(on: On) -> Self {
        let database = Self { name: (on == On::Postgres).then(new_name) };
        database.create();
        database
    }

    /// Another one with the same content. Nobody may be connected.
    pub fn copied(&self) -> Self {
        let copy = Self { name: self.name.as_ref().map(|_| new_name()) };
        if let (Some(name), Some(from)) = (&copy.name, &self.name) {
            server().sql("postgres", &format!("CREATE DATABASE {name} TEMPLATE {from}"));
        }
        copy
    }

    /// What `store.url` is for it.
    pub fn url(&self) -> String {
        self.name.as_ref().map_or_else(String::new, |name| server().url(name))
    }

    /// Runs a statement there: this is the database at that URL.
    pub async fn change(&self, url: &StoreUrl, statement: &str) {
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        match url {
            StoreUrl::Sqlite(path) => {
                let mut writer = sqlx::SqliteConnection::connect(&format!("sqlite:{}", path.display())).await.unwrap();
                sqlx::raw_sql(statement).execute(&mut writer).await.unwrap();
            }
            StoreUrl::Postgres(_) => {
                let mut writer = sqlx::PgConnection::connect(&self.url()).await.unwrap();
                sqlx::raw_sql(statement).execute(&mut writer).await.unwrap();
            }
        }
    }

    pub fn name(&self) -> &str {
        self.name.as_deref().expect("it is on the server")
    }

    /// Makes it empty again.
    pub fn reset(&self) {
        self.remove();
        self.create();
    }

    fn create(&self) {
        if let Some(name) = &self.name {
            server().sql("postgres", &format!("CREATE DATABASE {name}"));
        }
    }

    fn remove(&self) {
        if let Some(name) = &self.name {
            server().sql("postgres", &format!("DROP DATABASE {name} WITH (FORCE)"));
        }
    }
}

fn new_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

impl Drop for Database {
    fn drop(&mut self) {
        // After a failure the server may be as it should not be, too.
        if !std::thread::panicking() {
            self.remove();
        }
    }
}

/// A PostgreSQL server in a directory of its own, with a password and a certificate.
pub struct Server {
    dir: PathBuf,
    programs: PathBuf,
    pub port: u16,
    /// A shell that stops the server and removes the directory once its standard input ends: however this process does.
    _guard: Child,
}

/// Whether a commit waits for the disk: tests pull no plugs, measurements are of what production does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durable {
    Yes,
    No,
}

pub const PASSWORD: &str = "pässword/for:tests@";

/// The server of this test process; the first test that asks for it starts it.
pub fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(Durable::No))
}

/// The server refuses to run as root.
const AS_POSTGRES: &str = r#"
as_postgres() {
    if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --clear-groups -- "$@"; else "$@"; fi
}
"#;

/// `$0` is the directory, `$1` where the programs are, `$2` the server's options.
const GUARD: &str = r#"
certify() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=tests-ca \
        -keyout ca.key -out ca.crt
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost \
        -keyout server.key -out server.csr
    printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n' > server.ext
    openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile server.ext -out server.crt
}
start() {
    if [ "$(id -u)" = 0 ]; then chown postgres: . password server.key; fi
    chmod 600 server.key
    as_postgres "$1/initdb" -D data -U tests --auth-local=trust --auth-host=scram-sha-256 --pwfile=password \
        -E UTF8 --locale=C --no-sync
    as_postgres "$1/pg_ctl" -D data -w -l log start -o "$2"
}
cd "$0" && (set -e; certify; start "$@") > started 2>&1 && echo ready || { cat started log; rm -rf "$0"; exit 1; }
cat > started
for each in data standby; do [ -f $each/postmaster.pid ] && as_postgres "$1/pg_ctl" -D $each -m immediate stop > started; done
cd / && rm -rf "$0"
"#;

impl Server {
    /// A server that nobody else uses, for a test that stops it or for figures.
    pub fn start(durable: Durable) -> Self {
        let programs =
            programs().expect("PostgreSQL is missing: scripts/test installs it, or apt-get install postgresql");
        let dir = tempfile::Builder::new().prefix("pg-").tempdir().unwrap().keep();
        fs::write(dir.join("password"), format!("{PASSWORD}\n")).unwrap();
        let port = free_port();
        let mut guard = Command::new("sh")
            .arg("-c")
            .arg([AS_POSTGRES, GUARD].concat())
            .args([&dir, &programs])
            .arg(options(&dir, port, durable))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C must not reach it.
            .process_group(0)
            .spawn()
            .unwrap();
        let mut output = BufReader::new(guard.stdout.take().unwrap());
        let mut told = String::new();
        output.read_line(&mut told).unwrap();
        if told != "ready\n" {
            output.read_to_string(&mut told).unwrap();
            panic!("PostgreSQL did not start: {told}");
        }
        Self { dir, programs, port, _guard: guard }
    }

    pub fn url(&self, database: &str) -> String {
        let password = percent_encoding::utf8_percent_encode(PASSWORD, percent_encoding::NON_ALPHANUMERIC);
        format!("postgres://tests:{password}@localhost:{}/{database}", self.port)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// As a crash does it.
    pub fn stop(&self) {
        self.program("pg_ctl", &["-D", "data", "-m", "immediate", "stop"]);
    }

    pub fn start_again(&self) {
        self.program(
            "pg_ctl",
            &["-D", "data", "-w", "-l", "log", "start", "-o", &options(&self.dir, self.port, Durable::No)],
        );
    }

    pub fn restart(&self) {
        self.program("pg_ctl", &["-D", "data", "-m", "immediate", "-w", "-l", "log", "restart"]);
    }

    /// Starts a replica that answers on this port, and follows from now on.
    pub fn start_standby(&self, port: u16) {
        let from = ["-h", &self.dir.display().to_string(), "-p", &self.port.to_string(), "-U", "tests"];
        self.program("pg_basebackup", &[from.as_slice(), &["-D", "standby", "-R", "--no-sync", "-c", "fast"]].concat());
        self.program(
            "pg_ctl",
            &["-D", "standby", "-w", "-l", "log", "start", "-o", &options(&self.dir, port, Durable::No)],
        );
    }

    fn program(&self, name: &str, args: &[&str]) {
        let script = [AS_POSTGRES, r#"cd "$0" && as_postgres "$@" > told 2>&1 || { cat told >&2; exit 1; }"#].concat();
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg(&self.dir).arg(self.programs.join(name)).args(args);
        assert!(command.status().unwrap().success(), "{name} {args:?}");
    }

    /// What a statement answers, as psql prints it without any decoration.
    pub fn sql(&self, database: &str, statement: &str) -> String {
        let output = Command::new(self.programs.join("psql"))
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "tests", "-h"])
            .arg(&self.dir)
            .args(["-p", &self.port.to_string(), "-d", database, "-c", statement])
            .output()
            .unwrap();
        assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

fn options(dir: &Path, port: u16, durable: Durable) -> String {
    let dir = dir.display();
    let fsync = if durable == Durable::Yes { "on" } else { "off" };
    format!(
        "-c listen_addresses=127.0.0.1 -c port={port} -c max_connections=200 -c unix_socket_directories='{dir}' \
         -c fsync={fsync} -c log_line_prefix='%d|' \
         -c ssl=on -c ssl_cert_file='{dir}/server.crt' -c ssl_key_file='{dir}/server.key'"
    )
}

/// One that nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Where Debian keeps the programs of its newest PostgreSQL, if there is one.
pub fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().map(|entry| entry.unwrap().path());
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.filter(|path| path.join("bin/initdb").exists()).max_by_key(|path| number(path));
    newest.map(|version| version.join("bin"))
}
