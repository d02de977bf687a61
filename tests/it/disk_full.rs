//! A disk that is full or can't be written at any step: the error says so, nothing is damaged, and the same command goes on once
//! there is room.

use std::collections::BTreeSet;
use std::fs;

use super::crash::NOW;
use super::daemon::{Lines, eventually};
use super::events::{self, NDJSON, Server, event, printed_key, send};
use super::stores::On;
use super::support::Binary;

/// Runs commands within `data`, a file system of its own that has so many KiB of room for each of them (`$1`). Where one fails, that
/// is noted, room is made, and it is run again. `$0` is the program.
const LITTLE_ROOM: &str = r#"
room="$1"
mount -t tmpfs tmpfs data || exit 99
go() { "$0" --quiet --now "$NOW" "$@" > said 2> told; }
try() {
    used=$(du -sk data | cut -f 1)
    mount -o remount,size=$((used + room))k data || exit 99
    go "$@" && return
    echo "$? $* $(cat told)" | tr '\n' ' ' >> failed; echo >> failed
    mount -o remount,size=131072k data || exit 99
    go "$@" || { echo "again: $*"; cat told; exit 1; }
}
"#;

/// The same, where the file system is read-only at first each time.
const READ_ONLY: &str = r#"
mount -t tmpfs -o size="$1"k tmpfs data || exit 99
go() { "$0" --quiet --now "$NOW" "$@" > said 2> told; }
try() {
    mount -o remount,ro data || exit 99
    go "$@" && { echo "without writing: $*"; exit 1; }
    echo "$? $* $(cat told)" | tr '\n' ' ' >> failed; echo >> failed
    mount -o remount,rw data || exit 99
    go "$@" || { echo "again: $*"; cat told; exit 1; }
}
"#;

const COMMANDS: &str = r"
try ingest one.ndjson two.ndjson three.ndjson
try compact
try ingest four.ndjson
try backfill --from 2026-03-01 --to 2026-03-31
mount -o remount,size=131072k data || exit 99
go verify || { cat said told; exit 1; }
go export --period-type daily --output daily.csv && go export --period-type monthly --output monthly.csv || exit 1
";

fn installation() -> Binary {
    let binary = Binary::new(On::Sqlite)
        .with("USAGE_ROLLUP__INGEST__EVENTS_PER_COMMIT", "1000")
        .with("USAGE_ROLLUP__EVENT_LOG__COMPACT_AT", "2")
        .with("NOW", NOW);
    let plan = ["--events", "6000", "--services", "6", "--users", "60", "--days", "40", "--end", "2026-03-31"];
    let lines = binary.ok(&[["generate"].as_slice(), &plan].concat());
    let lines: Vec<&str> = lines.lines().collect();
    for (name, part) in ["one", "two", "three", "four"].iter().zip(lines.chunks(lines.len().div_ceil(4))) {
        fs::write(binary.path(&format!("{name}.ndjson")), part.join("\n") + "\n").unwrap();
    }
    fs::create_dir(binary.path("data")).unwrap();
    binary
}

/// Whether whoever runs the tests was told that file systems can't be mounted here, as `scripts/test` tells.
fn can_not_be_tested() -> bool {
    std::env::var_os("WITHOUT_MOUNTS").is_some()
}

/// What failed, a line each, and the rows in the end.
fn run(script: &str, room: u32) -> (Vec<String>, [String; 2]) {
    let binary = installation();
    let output = binary.within_own_mounts(&[script, COMMANDS].concat(), &room.to_string());
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{room} KiB: {said}");
    let failed = fs::read_to_string(binary.path("failed")).unwrap_or_default();
    let rows = ["daily.csv", "monthly.csv"].map(|name| fs::read_to_string(binary.path(name)).unwrap());
    (failed.lines().map(str::to_owned).collect(), rows)
}

#[test]
fn a_full_disk_is_told_and_harms_nothing_at_any_step() {
    if can_not_be_tested() {
        return;
    }
    let (failed, undisturbed) = run(LITTLE_ROOM, 65_536);
    assert_eq!(failed, [""; 0]);
    assert!(undisturbed[0].lines().count() > 100);
    let mut failed_in: Vec<String> = Vec::new();
    for room in (0..24).map(|step| 8 + step * step * 3) {
        let (failed, rows) = run(LITTLE_ROOM, room);
        for line in failed {
            assert!(line.starts_with("1 "), "{room} KiB: {line}");
            let is_told = ["No space left on device", "make room"].iter().any(|told| line.contains(told));
            assert!(is_told, "{room} KiB: {line}");
            failed_in.push(line.split(' ').nth(1).unwrap().to_owned());
        }
        assert!(rows == undisturbed, "{room} KiB: the rows are others");
    }
    let failed_in: BTreeSet<String> = failed_in.into_iter().collect();
    assert!(failed_in.len() == 3, "it was full in several commands: {failed_in:?}");
}

#[test]
fn a_read_only_disk_is_told_and_harms_nothing() {
    if can_not_be_tested() {
        return;
    }
    let (_, undisturbed) = run(LITTLE_ROOM, 65_536);
    let (failed, rows) = run(READ_ONLY, 65_536);
    assert_eq!(failed.len(), 4, "{failed:#?}");
    for line in failed {
        assert!(line.starts_with("1 "), "{line}");
        let told = ["Read-only file system", "It may be read-only"];
        assert!(told.iter().any(|told| line.contains(told)), "{line}");
    }
    assert!(rows == undisturbed, "the rows are others");
}

/// A daemon whose data directory is a file system of its own.
const DAEMON: &str = r#"
mount -t tmpfs -o size=32m tmpfs data && "$0" keys create --role SuperUser > key && exec "$0" --now "$1" run
"#;
const FILL: &str = "head -c 1G /dev/zero >> data/ballast 2> /dev/null || true";

/// Such a daemon, and the lines that it has acknowledged.
struct Apart {
    binary: Binary,
    server: Server,
    log: Lines,
    acknowledged: Vec<String>,
}

impl Apart {
    /// One that takes events; none where that can't be tested.
    fn start() -> Option<Self> {
        if can_not_be_tested() {
            return None;
        }
        let binary = Binary::new(On::Sqlite)
            .with("USAGE_ROLLUP__API__LISTEN", "127.0.0.1:0")
            .with("USAGE_ROLLUP__SCHEDULE__INGEST", "* * * * * *")
            .with("NOW", events::NOW);
        fs::create_dir(binary.path("data")).unwrap();
        let mut command = binary.in_own_mounts(DAEMON, events::NOW);
        let (server, log) = Server::of(&mut command, || printed_key(&fs::read_to_string(binary.path("key")).unwrap()));
        let mut daemon = Self { binary, server, log, acknowledged: Vec::new() };
        assert!(daemon.accepts("first", 1));
        Some(daemon)
    }

    fn does(&self, script: &str) -> String {
        self.binary.beside(&self.server.running.0, script)
    }

    /// Sends so many events, none of which was sent before, and gives whether they are acknowledged. What is refused is not sent again.
    fn accepts(&mut self, name: &str, events: usize) -> bool {
        let lines = (0..events).map(|number| event(1, &format!("{name}-{number}")) + "\n").collect::<String>();
        let answer = send(&self.server.address, "POST", &self.server.key, NDJSON, "", lines.as_bytes()).unwrap();
        if answer.starts_with("HTTP/1.1 202 ") {
            self.acknowledged.push(lines);
            return true;
        }
        let head = answer.to_lowercase();
        assert!(head.starts_with("http/1.1 503 ") && head.contains("\r\nretry-after: "), "{answer}");
        assert!(answer.contains("the events can't be kept at the moment; send them again later"), "{answer}");
        false
    }

    /// Once there is room, the same daemon takes events again, and those count that it has acknowledged, and no others.
    fn goes_on(mut self) {
        let mut tries = 0..;
        eventually("events are accepted", || self.accepts(&format!("last-{}", tries.next()?), 1).then_some(()));
        eventually("what was sent is ingested", || self.does("ls data/spool").is_empty().then_some(()));
        let rows = |of: &str| self.does(&format!(r#""$0" --quiet --now "$NOW" export --period-type {of}"#));
        self.does(r#""$0" --quiet --now "$NOW" rollup && "$0" --quiet --now "$NOW" verify"#);
        assert!(
            [rows("daily"), rows("monthly")] == events::expected(&self.acknowledged.concat()),
            "the rows are others"
        );
        assert_eq!(self.server.running.stop().0, Some(0));
    }
}

#[test]
fn what_is_sent_to_a_full_disk_is_refused_until_there_is_room() {
    let Some(mut daemon) = Apart::start() else { return };
    // There is room for a part of it.
    daemon.does(&format!("{FILL}; truncate -s -128K data/ballast"));
    assert!(!daemon.accepts("large", 4_000));
    daemon.log.with("No space left on device");
    // A job that fails may leave some room.
    let mut tries = 0..;
    eventually("a single event is refused", || {
        daemon.does(FILL);
        (!daemon.accepts(&format!("small-{}", tries.next()?), 1)).then_some(())
    });
    daemon.does("rm data/ballast");
    daemon.goes_on();
}

#[test]
fn what_is_sent_to_a_read_only_disk_is_refused_until_it_can_be_written() {
    let Some(mut daemon) = Apart::start() else { return };
    // A file that is open can be written still, as long as it is not sealed.
    daemon.does("mkdir ro; mount --bind data ro; mount -o remount,bind,ro ro; mount --move ro data");
    let mut tries = 0..;
    eventually("events are refused", || (!daemon.accepts(&format!("then-{}", tries.next()?), 1)).then_some(()));
    daemon.log.with("Read-only file system");
    daemon.does("umount --lazy data");
    daemon.goes_on();
}
