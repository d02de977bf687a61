//! The daemon under systemd, with a socket of ours where systemd would listen (sd_notify(3)).

use std::fs;
use std::net::TcpListener;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::daemon::{Lines, Running, eventually, get};
use super::stores::{On, on_each_store};
use super::support::Binary;

on_each_store!(systemd_is_told_from_the_start_to_the_end,);

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

fn systemd_is_told_from_the_start_to_the_end(on: On) {
    let binary = Binary::new(on).with("USAGE_ROLLUP__API__LISTEN", "127.0.0.1:0");
    let manager = Manager::new(&binary);
    let mut command = binary.command(&["run"]);
    // A watchdog that comes fast enough for a test, and not so fast that a busy machine starves it.
    command.env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", "8000000").stderr(Stdio::null());
    let mut daemon = Running(command.spawn().unwrap());
    manager.until("READY=1");
    let began = Instant::now();
    let told = manager.until("WATCHDOG=1");
    let told = [told, manager.until("WATCHDOG=1")].concat();
    assert!(began.elapsed() < Duration::from_secs(8), "twice within the time of one: {:?}", began.elapsed());
    let freshness = told.iter().find(|line| line.starts_with("STATUS=")).unwrap();
    assert!(freshness.contains("no rows yet") && freshness.contains("nothing waits"), "{freshness}");
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
    let hangup = || {
        let kill = Command::new("sh").arg("-c").arg(format!("kill -HUP {}", daemon.0.id())).status().unwrap();
        assert!(kill.success());
    };
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
