//! A daemon that is killed, fails or is held up at any step of its spool loses nothing of what it has acknowledged, and counts
//! nothing twice.
//!
//! The spool knows nothing of the store, so one of the two is enough.

use std::fs::{self, OpenOptions};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use usage_rollup::failpoint::Point;

use super::daemon::{Running, eventually};
use super::events::{NDJSON, NOW, event, expected, exported, key, send, verify};
use super::stores::On;
use super::support::Binary;

/// What the names of points begin with that only a daemon reaches to which something is sent.
pub const POINTS: &str = "spool: ";
/// Those that it reaches with others: the first time they are the spool's, for nothing else was written before.
const SHARED: [Point; 2] = [Point::FileRenamed, Point::FilePutAway];
/// Points behind which the sender still waits for its answer.
const BEFORE_THE_ANSWER: [Point; 3] = [Point::SpoolBegun, Point::SpoolWritten, Point::SpoolSynced];
const SIGKILL: i32 = 9;

/// A daemon that is started again where it ends.
struct Daemon<'b> {
    binary: &'b Binary,
    running: Running,
    ended: Vec<ExitStatus>,
}

impl<'b> Daemon<'b> {
    fn start(binary: &'b Binary, plan: &str) -> Self {
        Self { binary, running: Self::started(binary, plan), ended: Vec::new() }
    }

    fn started(binary: &Binary, plan: &str) -> Running {
        let log = OpenOptions::new().create(true).append(true).open(binary.path("log")).unwrap();
        let mut command = binary.command(&["--now", NOW, "run"]);
        Running(command.env("USAGE_ROLLUP_FAILPOINT", plan).stderr(log).spawn().unwrap())
    }

    fn until<T>(&mut self, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
        eventually(what, || {
            if let Some(status) = self.running.0.try_wait().unwrap() {
                self.ended.push(status);
                self.running = Self::started(self.binary, "");
            }
            probe()
        })
    }
}

/// Sends some events, and then some more, each until they are acknowledged and until they are ingested, to a daemon to which
/// `act` happens at a point.
fn try_at(point: Point, act: &str) {
    let told = format!("{}: {act}", point.name());
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let binary = Binary::new(On::Sqlite)
        .with("USAGE_ROLLUP__API__LISTEN", &address)
        .with("USAGE_ROLLUP__SCHEDULE__INGEST", "* * * * * *");
    let key = key(&binary, &["--role", "SuperUser"]);
    let began = Instant::now();
    let mut daemon = Daemon::start(&binary, &format!("{}={act}", point.name()));
    let (mut sent, mut refused) = (Vec::new(), 0);
    for part in ["first", "second"] {
        let lines = (0..20).map(|number| event(number % 3 + 1, &format!("{part}-{number}")));
        let lines = lines.collect::<Vec<String>>().join("\n");
        daemon.until("events are acknowledged", || {
            let answer = send(&address, "POST", &key, NDJSON, "", lines.as_bytes())?;
            if answer.starts_with("HTTP/1.1 202 ") {
                return Some(());
            }
            assert!(answer.starts_with("HTTP/1.1 503 "), "{told}: {answer}");
            assert!(answer.to_lowercase().contains("\r\nretry-after: "), "{told}: {answer}");
            refused += usize::from(answer.contains("the events can't be kept at the moment"));
            None
        });
        sent.push(lines);
        let is_empty = || fs::read_dir(binary.path("data/spool")).is_ok_and(|mut files| files.next().is_none());
        daemon.until("what was sent is ingested", || is_empty().then_some(()));
    }
    assert_eq!(daemon.running.stop().0, Some(0), "{told}");
    let log = fs::read_to_string(binary.path("log")).unwrap();
    let signals: Vec<Option<i32>> = daemon.ended.iter().map(ExitStatusExt::signal).collect();
    match act {
        "kill" => assert_eq!(signals, [Some(SIGKILL)], "{told}: {log}"),
        // Without its spool it does not start.
        "fail" if point == Point::SpoolOpened => assert_eq!(signals, [None], "{told}: {log}"),
        _ => assert_eq!(signals, [], "{told}: {log}"),
    }
    assert_eq!(refused, usize::from(act == "fail" && BEFORE_THE_ANSWER.contains(&point)), "{told}: {log}");
    assert_eq!(log.contains("a test had it fail"), act == "fail", "{told}: {log}");
    assert!(act != "stall" || began.elapsed() >= Duration::from_secs(2), "{told}");

    // It may have been stopped before it had rolled up.
    binary.ok(&["--quiet", "--now", NOW, "rollup"]);
    verify(&binary);
    assert!(exported(&binary) == expected(&sent.join("\n")), "{told}: the rows are others");
    let stored = binary.sql("SELECT CAST(sum(accepted - duplicate) AS text) FROM inputs");
    assert_eq!(stored, ["40"], "{told}");
}

fn at_each_point(act: &str) {
    let of_spool = Point::ALL.iter().filter(|point| point.name().starts_with(POINTS));
    let rest = Mutex::new(of_spool.chain(&SHARED));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let next = rest.lock().unwrap().next();
                    let Some(point) = next else { return };
                    try_at(*point, act);
                }
            });
        }
    });
}

#[test]
fn killed_at_each_step() {
    at_each_point("kill");
}

#[test]
fn failing_at_each_step() {
    at_each_point("fail");
}

#[test]
fn held_up_at_each_step() {
    at_each_point("stall");
}
