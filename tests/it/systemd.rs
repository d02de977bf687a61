//! The daemon under systemd, with a socket of ours where systemd would listen (sd_notify(3)).

use std::fs;
use std::net::TcpListener;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::daemon::{Lines, Running, eventually, get};
use super::proxy::Proxy;
use super::stores::{Database, On, free_port, on_each_store};
use super::support::{Binary, terminate};

on_each_store!(systemd_is_told_from_the_start_to_the_end, one_that_is_stopped_in_the_middle_goes_on_after_it,);

const EVENTS: &str = include_str!("../golden/tiny/events.ndjson");

/// What systemd is told.
struct Manager {
    socket: UnixDatagram,
    path: String,
}

impl Manager {
    fn new(binary: &Binary) -> Self {
        let path = binary.path("notify").display().to_string();
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        Self { socket, path }
    }

    /// Everything that has come.
    fn all(&self) -> Vec<String> {
        self.socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 4_096];
        let mut told = Vec::new();
        while let Ok(length) = self.socket.recv(&mut buffer) {
            told.extend(String::from_utf8_lossy(&buffer[..length]).lines().map(str::to_owned));
        }
        self.socket.set_nonblocking(false).unwrap();
        told
    }

    /// Everything up to the message with this line.
    fn until(&self, line: &str) -> Vec<String> {
        let mut told = Vec::new();
        let mut buffer = [0; 4_096];
        loop {
            let length =
                self.socket.recv(&mut buffer).unwrap_or_else(|error| panic!("no {line} within {told:?}: {error}"));
            let message = String::from_utf8(buffer[..length].to_vec()).unwrap();
            told.extend(message.lines().map(str::to_owned));
            if message.lines().any(|of_message| of_message.starts_with(line)) {
                return told;
            }
        }
    }
}

fn hang_up(daemon: &Running) {
    let kill = Command::new("sh").arg("-c").arg(format!("kill -HUP {}", daemon.0.id())).status().unwrap();
    assert!(kill.success());
}

fn systemd_is_told_from_the_start_to_the_end(on: On) {
    let binary = Binary::new(on).with("USAGE_ROLLUP__API__LISTEN", "127.0.0.1:0");
    let manager = Manager::new(&binary);
    let mut command = binary.command(&["run"]);
    // A watchdog that comes fast enough for a test, and not so fast that a busy machine starves it.
    command.env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", "8000000").stderr(Stdio::null());
    let mut daemon = Running(command.spawn().unwrap());
    manager.until("READY=1");
    let began = Instant::now();
    manager.until("WATCHDOG=1");
    manager.until("WATCHDOG=1");
    assert!(began.elapsed() < Duration::from_secs(8), "twice within the time of one: {:?}", began.elapsed());
    // Told anew every 10 s.
    let told = manager.until("STATUS=");
    let freshness = told.last().unwrap();
    assert!(freshness.contains("nothing waits"), "{freshness}");
    let stopping = std::thread::scope(|scope| {
        let told = scope.spawn(|| manager.until("STOPPING=1"));
        assert_eq!(daemon.stop().0, Some(0));
        told.join().unwrap()
    });
    assert!(stopping.contains(&"STATUS=stopping".to_owned()), "{stopping:?}");
}

#[test]
fn a_listener_that_systemd_has_opened_is_taken_over() {
    let binary = Binary::new(On::Sqlite).with("USAGE_ROLLUP__API__LISTEN", "127.0.0.1:1");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // A shell gives the descriptor the number that systemd gives, and its own process id to the daemon.
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg("exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" run")
        .arg(env!("CARGO_BIN_EXE_usage-rollup"))
        .stdin(Stdio::from(listener.as_fd().try_clone_to_owned().unwrap()))
        .stderr(Stdio::piped());
    binary.settle(&mut command);
    let mut daemon = Running(command.spawn().unwrap());
    let log = Lines::of(daemon.0.stderr.take().unwrap());
    let told = log.with("systemd has opened another address");
    assert!(told.contains("127.0.0.1:1"), "{told}");
    let ready = || get(&address, "/readyz", "").filter(|(status, _)| *status == 200);
    eventually("it is ready", ready);
    assert_eq!(daemon.stop().0, Some(0));
    drop(listener);
}

#[test]
fn a_hangup_reads_the_configuration_anew() {
    let binary = Binary::new(On::Sqlite);
    let file = binary.path("daemon.toml");
    let write = |text: &str| fs::write(&file, format!("[api]\nlisten = \"127.0.0.1:0\"\n{text}")).unwrap();
    write("[log]\nfilter = \"warn,usage_rollup::daemon=info,usage_rollup::cli=info\"\n");
    let mut command = binary.command(&["--config", file.to_str().unwrap(), "run"]);
    let mut daemon = Running(command.stderr(Stdio::piped()).spawn().unwrap());
    let log = Lines::of(daemon.0.stderr.take().unwrap());
    let started = log.with("api=http://");
    let address = started.split("api=http://").nth(1).unwrap().split_whitespace().next().unwrap();
    let hangup = || hang_up(&daemon);
    get(address, "/api/ping", "").unwrap();
    write("[log]\nfilter = \"info\"\n");
    hangup();
    log.with("the configuration was read anew");
    get(address, "/api/ping", "").unwrap();
    log.with("answered a request");
    write("[ingest]\nmax_line_bytes = 2000\n[log]\nfilter = \"info\"\n");
    hangup();
    let told = log.with("takes a restart");
    assert!(told.contains("ingest.max_line_bytes") && !told.contains("api.listen"), "{told}");
    write("[ingest]\nmax_lines = 2000\n");
    hangup();
    let told = log.with("the one in force stays");
    assert!(told.contains("ingest.max_lines"), "{told}");
    assert_eq!(daemon.stop().0, Some(0));
}

#[test]
fn a_password_may_be_a_credential() {
    let binary = Binary::new(On::Sqlite).with("USAGE_ROLLUP__STORE__URL", "postgres://me@localhost/usage");
    fs::create_dir(binary.path("credentials")).unwrap();
    fs::write(binary.path("credentials/store.password"), "s3cret\n").unwrap();
    let show = |command: &mut Command| String::from_utf8(command.output().unwrap().stdout).unwrap();
    let mut command = binary.command(&["config", "show"]);
    let shown = show(command.env("CREDENTIALS_DIRECTORY", binary.path("credentials")));
    let line = shown.lines().find(|line| line.trim_start().starts_with("store.password_file")).unwrap();
    assert!(line.contains("systemd credential store.password"), "{line}");
    assert!(!shown.contains("s3cret"), "{shown}");
}

/// A daemon over a server that answers for now.
fn over_a_road(database: &Database) -> (Binary, Proxy) {
    let road = Proxy::start(Duration::ZERO);
    (Binary::at(&road.url(database)).with("USAGE_ROLLUP__API__LISTEN", "127.0.0.1:0"), road)
}

#[test]
fn one_that_does_not_live_is_not_said_to_and_asked_twice_it_stops_at_once() {
    let database = Database::new(On::Postgres);
    let (binary, road) = over_a_road(&database);
    let manager = Manager::new(&binary);
    let mut command = binary.command(&["run"]);
    command.env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", "4000000").stderr(Stdio::piped());
    let mut daemon = Running(command.spawn().unwrap());
    let log = Lines::of(daemon.0.stderr.take().unwrap());
    manager.until("WATCHDOG=1");
    road.fall_silent();
    log.with("the daemon does not answer itself");
    manager.all();
    log.with("the daemon does not answer itself");
    let told = manager.all();
    assert!(!told.contains(&"WATCHDOG=1".to_owned()), "{told:?}");
    terminate(&daemon.0);
    manager.until("STOPPING=1");
    terminate(&daemon.0);
    log.with("asked again to stop");
    assert_eq!(eventually("it ends", || daemon.0.try_wait().unwrap()).code(), Some(1));
}

#[test]
fn a_server_that_hangs_holds_no_stop_up_for_ever() {
    let database = Database::new(On::Postgres);
    let (binary, road) = over_a_road(&database);
    let mut daemon = Running(binary.command(&["run"]).stderr(Stdio::piped()).spawn().unwrap());
    let log = Lines::of(daemon.0.stderr.take().unwrap());
    log.with("verified");
    road.fall_silent();
    // The next job finds out.
    fs::write(binary.path("data/inbox/.events"), EVENTS).unwrap();
    fs::rename(binary.path("data/inbox/.events"), binary.path("data/inbox/events.ndjson")).unwrap();
    assert_eq!(daemon.stop().0, Some(1));
    log.with("is cut off");
}

#[test]
fn while_it_starts_systemd_is_asked_for_time_and_a_reload_does_not_say_that_it_is_ready() {
    let away = Binary::at(&format!("postgres://nobody@127.0.0.1:{}/nothing", free_port()))
        .with("USAGE_ROLLUP__API__LISTEN", "127.0.0.1:0");
    let manager = Manager::new(&away);
    let mut command = away.command(&["run"]);
    let mut daemon = Running(command.env("NOTIFY_SOCKET", &manager.path).stderr(Stdio::piped()).spawn().unwrap());
    let log = Lines::of(daemon.0.stderr.take().unwrap());
    let mut told = manager.until("STATUS=waiting for the store");
    hang_up(&daemon);
    log.with("the configuration was read anew");
    terminate(&daemon.0);
    told.extend(manager.until("STOPPING=1"));
    assert!(told.iter().any(|line| line.starts_with("EXTEND_TIMEOUT_USEC=")), "{told:?}");
    assert!(!told.iter().any(|line| line == "READY=1" || line == "RELOADING=1"), "{told:?}");
    assert_eq!(eventually("it ends", || daemon.0.try_wait().unwrap()).code(), Some(0));
}

/// In the middle of a file: some of it is committed, and none of it is read again, or lost.
fn one_that_is_stopped_in_the_middle_goes_on_after_it(on: On) {
    const LINES: i64 = 200_000;
    let binary = Binary::new(on)
        .with("USAGE_ROLLUP__API__LISTEN", "127.0.0.1:0")
        .with("USAGE_ROLLUP__INGEST__EVENTS_PER_COMMIT", "1000");
    fs::create_dir_all(binary.path("data/inbox")).unwrap();
    let generated = binary.run(&["--quiet", "generate", "--events", &LINES.to_string(), "--days", "3"]);
    fs::write(binary.path("data/inbox/.events"), generated.stdout).unwrap();
    fs::rename(binary.path("data/inbox/.events"), binary.path("data/inbox/events.ndjson")).unwrap();
    let read = || {
        let status = binary.run(&["--quiet", "status", "--json"]).stdout;
        let status: serde_json::Value = serde_json::from_slice(&status).ok()?;
        Some((status["ledger"]["lines"].as_i64()?, status["dirty_partitions"].as_i64()?))
    };
    let start = || Running(binary.command(&["run"]).stderr(Stdio::null()).spawn().unwrap());
    let mut daemon = start();
    // As soon as the first of 200 commits is on its way.
    eventually("a segment is written", || fs::read_dir(binary.path("data/events")).ok()?.next()?.ok());
    assert_eq!(daemon.stop().0, Some(0));
    let (before, _) = read().unwrap();
    assert!(before < LINES, "it was stopped after all {before} lines");
    let mut daemon = start();
    eventually("all of it is read and rolled up", || read().filter(|read| *read == (LINES, 0)));
    assert_eq!(daemon.stop().0, Some(0));
    binary.ok(&["verify"]);
}
