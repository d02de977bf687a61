//! Power that is lost at any moment takes nothing that was committed, and each fsync is there for a reason.
//!
//! The program records what it does to files (`failpoint::Step`). From that follows what a disk must have kept at each moment: of
//! a file what was synced, under a name that was synced with its directory. A commit of the database may only rely on such files,
//! and only what lies in such a file may be acknowledged to whoever sent it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::events::{NDJSON, Server, event};
use super::stores::On;
use super::support::Binary;

const NOW: &str = "2026-04-02T12:00:00Z";

#[derive(Clone, Debug)]
enum Step {
    Created(PathBuf),
    Written(PathBuf),
    Synced(PathBuf),
    Renamed(PathBuf, PathBuf),
    DirSynced(PathBuf),
    ReliedOn(PathBuf),
    Committed,
    Acknowledged(PathBuf),
}

/// What is sure to be on the disk.
#[derive(Default)]
struct Disk {
    /// Files whose content is synced, wherever they are named.
    synced: BTreeSet<PathBuf>,
    /// Names that were made or given and whose directory was not synced since.
    unsure: BTreeSet<PathBuf>,
    known: BTreeSet<PathBuf>,
}

impl Disk {
    fn take(&mut self, step: &Step) {
        match step {
            Step::Created(path) => {
                // A directory that was there, and sure, stays so.
                if self.known.insert(path.clone()) {
                    self.unsure.insert(path.clone());
                }
            }
            Step::Written(path) => _ = self.synced.remove(path),
            Step::Synced(path) => _ = self.synced.insert(path.clone()),
            Step::Renamed(from, to) => {
                self.unsure.remove(from);
                self.unsure.insert(to.clone());
                self.known.insert(to.clone());
                if self.synced.remove(from) {
                    self.synced.insert(to.clone());
                }
            }
            Step::DirSynced(dir) => self.unsure.retain(|path| path.parent() != Some(dir)),
            Step::ReliedOn(_) | Step::Committed | Step::Acknowledged(_) => {}
        }
    }

    /// Whether a file would be whole and in its place.
    fn keeps(&self, file: &Path, within: &Path) -> bool {
        let names = file.ancestors().take_while(|path| *path != within);
        self.synced.contains(file) && names.into_iter().all(|path| !self.unsure.contains(path))
    }
}

/// The files that power loss would take though a commit has relied on them, by the number of the commit; and how many commits
/// rely on any.
fn lost(steps: &[Step], within: &Path) -> (Vec<(usize, PathBuf)>, usize) {
    let (mut disk, mut relied_on, mut commits, mut lost) = (Disk::default(), Vec::new(), 0, Vec::new());
    for step in steps {
        disk.take(step);
        match step {
            Step::ReliedOn(path) => relied_on.push(path.clone()),
            Step::Committed => {
                commits += usize::from(!relied_on.is_empty());
                lost.extend(relied_on.drain(..).filter(|file| !disk.keeps(file, within)).map(|file| (commits, file)));
            }
            _ => {}
        }
    }
    (lost, commits)
}

/// Runs commands with the record of what they do.
fn recorded(binary: &Binary, commands: &[&[&str]]) -> Vec<Step> {
    for command in commands {
        let command = [["--quiet", "--now", NOW].as_slice(), command].concat();
        let output = binary.command(&command).env("USAGE_ROLLUP_STEPS", binary.path("steps")).output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    told(binary)
}

/// What was recorded.
fn told(binary: &Binary) -> Vec<Step> {
    let home = binary.path("");
    let path = |text: &str| home.join(text);
    let step = |line: &str| match line.split('\t').collect::<Vec<_>>()[..] {
        ["created", at] => Step::Created(path(at)),
        ["written", at] => Step::Written(path(at)),
        ["synced", at] => Step::Synced(path(at)),
        ["renamed", from, to] => Step::Renamed(path(from), path(to)),
        ["dir synced", at] => Step::DirSynced(path(at)),
        ["relied on", segment] => Step::ReliedOn(path("data/events").join(segment)),
        ["committed"] => Step::Committed,
        ["acknowledged", at] => Step::Acknowledged(path(at)),
        ref other => panic!("{other:?}"),
    };
    fs::read_to_string(binary.path("steps")).unwrap().lines().map(step).collect()
}

fn installation() -> Binary {
    let binary = Binary::new(On::Sqlite)
        .with("USAGE_ROLLUP__INGEST__EVENTS_PER_COMMIT", "1000")
        .with("USAGE_ROLLUP__EVENT_LOG__COMPACT_AT", "2");
    let plan = ["--events", "6000", "--services", "6", "--users", "60", "--days", "2", "--end", "2026-03-31"];
    let lines = binary.ok(&[["generate"].as_slice(), &plan].concat());
    let lines: Vec<&str> = lines.lines().collect();
    for (number, part) in lines.chunks(lines.len().div_ceil(4)).enumerate() {
        fs::write(binary.path(&format!("{number}.ndjson")), part.join("\n") + "\n").unwrap();
    }
    binary
}

const COMMANDS: [&[&str]; 3] = [&["ingest", "0.ndjson", "1.ndjson", "2.ndjson"], &["ingest", "3.ndjson"], &["compact"]];

#[test]
fn no_commit_relies_on_a_file_that_power_loss_could_take() {
    let binary = installation();
    let (lost, commits) = lost(&recorded(&binary, &COMMANDS), &binary.path(""));
    assert_eq!(lost, []);
    assert!(commits >= 5, "{commits} commits rely on files");
}

/// Each sync of a file or a directory is left out, as if the program did not do it there.
#[test]
fn without_any_one_kind_of_sync_files_would_be_lost() {
    let binary = installation();
    let (steps, home) = (recorded(&binary, &COMMANDS), binary.path(""));
    let kind = |step: &Step| -> Option<String> {
        let shown = |path: &Path| path.strip_prefix(&home).unwrap().display().to_string();
        match step {
            Step::Synced(path) => Some(format!("files in {}", shown(path.parent().unwrap()))),
            Step::DirSynced(path) => Some(shown(path)),
            _ => None,
        }
    };
    let kind = |_, step: &Step| kind(step);
    let needless = needless(&steps, kind, |rest| lost(rest, &home).0.is_empty());
    // No commit relies on the file with the installation's name, and an unfinished file that is back is removed again.
    assert_eq!(needless, ["data/tmp", "files in data"]);
}

/// The kinds of syncs without which nothing is lost, each left out on its own.
fn needless(
    steps: &[Step],
    kind: impl Fn(usize, &Step) -> Option<String>,
    loses_nothing: impl Fn(&[Step]) -> bool,
) -> Vec<String> {
    let kinds: Vec<Option<String>> = steps.iter().enumerate().map(|(at, step)| kind(at, step)).collect();
    let without = |left_out: &String| -> Vec<Step> {
        let rest = steps.iter().zip(&kinds).filter(|(_, kind)| kind.as_ref() != Some(left_out));
        rest.map(|(step, _)| step.clone()).collect()
    };
    let all: BTreeSet<&String> = kinds.iter().flatten().collect();
    assert!(all.len() > 2, "{all:?}");
    all.into_iter().filter(|left_out| loses_nothing(&without(left_out))).cloned().collect()
}

/// What a daemon does that acknowledges events one after the other, and seals them in the end.
fn spooled(binary: &Binary) -> Vec<Step> {
    let mut server = Server::start(binary);
    for id in ["one", "two", "three"] {
        assert_eq!(server.post(NDJSON, "", &event(1, id)).0, 202);
    }
    assert_eq!(server.running.stop().0, Some(0));
    told(binary)
}

/// The files that power loss would take though what is in them was acknowledged: then, or once they are sealed.
fn lost_of_spool(steps: &[Step], within: &Path) -> Vec<PathBuf> {
    let (mut disk, mut acknowledged, mut lost) = (Disk::default(), BTreeSet::new(), Vec::new());
    for step in steps {
        disk.take(step);
        match step {
            Step::Acknowledged(path) => {
                lost.extend(Some(path.clone()).filter(|path| !disk.keeps(path, within)));
                acknowledged.insert(path.clone());
            }
            Step::Renamed(from, to) if acknowledged.remove(from) => _ = acknowledged.insert(to.clone()),
            _ => {}
        }
    }
    assert!(acknowledged.iter().all(|path| path.extension().is_some_and(|of| of == "ndjson")), "{acknowledged:?}");
    lost.extend(acknowledged.into_iter().filter(|path| !disk.keeps(path, within)));
    lost
}

/// Each sync of the spool is left out on its own; those of the directory that it lies in together, for others sync it too.
#[test]
fn nothing_is_acknowledged_that_power_loss_could_take_and_each_sync_of_the_spool_is_needed() {
    let binary = Binary::new(On::Sqlite)
        .with("USAGE_ROLLUP__API__LISTEN", "127.0.0.1:0")
        .with("USAGE_ROLLUP__SCHEDULE__INGEST", "0 0 0 1 1 *")
        .with("USAGE_ROLLUP_STEPS", "steps");
    let (steps, home) = (spooled(&binary), binary.path(""));
    assert_eq!(lost_of_spool(&steps, &home), [""; 0].map(PathBuf::from));
    let acknowledged = steps.iter().filter(|step| matches!(step, Step::Acknowledged(_))).count();
    assert_eq!(acknowledged, 3);
    let (data, spool) = (binary.path("data"), binary.path("data/spool"));
    let kind = |at, step: &Step| match step {
        Step::DirSynced(path) if *path == data => Some("data".to_owned()),
        Step::Synced(path) | Step::DirSynced(path) if path.starts_with(&spool) => Some(format!("{at}: {step:?}")),
        _ => None,
    };
    assert_eq!(needless(&steps, kind, |rest| lost_of_spool(rest, &home).is_empty()), [""; 0]);
}
