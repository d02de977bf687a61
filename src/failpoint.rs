//! Points at which tests kill a run, have it fail, or hold it up, and a record of what happens to files
//! (`tests/it/failpoints.rs`, `tests/it/power_loss.rs`). `cargo test` alone sets the feature `failpoints`; without it there is
//! nothing of this in the program.

use std::io;

macro_rules! points {
    ($($point:ident = $name:literal,)+) => {
        /// Where a run can be cut short.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Point { $($point,)+ }

        impl Point {
            pub const ALL: &[Self] = &[$(Self::$point,)+];

            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$point => $name,)+ }
            }
        }
    };
}

points! {
    JobBegun = "job begun",
    JobDone = "job done",
    FileCreated = "file created",
    FileWritten = "file written",
    FileSynced = "file synced",
    FileRenamed = "file renamed",
    DirSynced = "directory synced",
    BatchBegun = "batch begun",
    BatchInputs = "batch: inputs noted",
    BatchSegments = "batch: segments noted",
    BatchReady = "batch ready to be committed",
    BatchCommitted = "batch committed",
    FilePutAway = "file put away",
    SpoolOpened = "spool: opened",
    SpoolBegun = "spool: file begun",
    SpoolWritten = "spool: lines written",
    SpoolSynced = "spool: lines synced",
    SpoolCut = "spool: file cut to what is whole",
    SpoolReady = "spool: file ready to be sealed",
    RunReady = "end of run ready to be committed",
    StatesReady = "states ready to be committed",
    RangeFolded = "range folded",
    RangeMerged = "range merged",
    RollupBegun = "rollup begun",
    FactsReplaced = "rollup: facts replaced",
    RowsWritten = "rollup: rows written",
    RollupReady = "rollup ready to be committed",
    RollupCommitted = "rollup committed",
    DirtyReady = "days done, ready to be committed",
    DirtyCleared = "days done",
    BackfillReady = "backfill ready to be committed",
    BackfillMarked = "backfill marked",
    LockReady = "lock ready to be committed",
    Locked = "locked",
    UnlockReady = "unlock ready to be committed",
    PendingApplied = "unlock: pending rows written",
    Unlocked = "unlocked",
    SegmentsStaged = "compaction: segments staged",
    SegmentsAnnounced = "compaction: segments announced",
    ReplaceReady = "compaction ready to be committed",
    Replaced = "compaction: segments replaced",
    FilesRemoved = "compaction: files removed",
}

/// Does what a test wants done here: nothing, or kills the process, or waits, or fails.
///
/// # Errors
/// When a test wants it to fail.
#[inline]
pub fn reach(point: Point) -> io::Result<()> {
    #[cfg(feature = "failpoints")]
    return active::reach(point);
    #[cfg(not(feature = "failpoints"))]
    {
        _ = point;
        Ok(())
    }
}

/// Records a step that makes files durable, or a commit that relies on them, where a test wants to know.
#[inline]
pub fn record(step: Step<'_>) {
    #[cfg(feature = "failpoints")]
    active::record(step);
    #[cfg(not(feature = "failpoints"))]
    {
        _ = step;
    }
}

/// What happens to files.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    Created(&'a std::path::Path),
    /// A file that was synced before is another one.
    Written(&'a std::path::Path),
    Synced(&'a std::path::Path),
    Renamed(&'a std::path::Path, &'a std::path::Path),
    DirSynced(&'a std::path::Path),
    /// By its path in the event log: what the next commit relies on.
    ReliedOn(&'a str),
    /// A commit, by the database.
    Committed,
    /// Whoever sent what is in this file is told that it is durable.
    Acknowledged(&'a std::path::Path),
}

#[cfg(feature = "failpoints")]
mod active {
    use std::fs::{File, OpenOptions};
    use std::io::{self, Write as _};
    use std::process::Command;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::{Point, Step};

    /// `NAME=kill`, `NAME=fail` or `NAME=stall`, at the first time; with `#N` behind the name at the Nth.
    const PLAN: &str = "USAGE_ROLLUP_FAILPOINT";
    /// A file to which the names of the points are added that were reached.
    const REACHED: &str = "USAGE_ROLLUP_FAILPOINTS_REACHED";
    /// A file to which the steps are added.
    const STEPS: &str = "USAGE_ROLLUP_STEPS";

    /// What is done at which point, and at which time that it is reached.
    struct Plan {
        point: String,
        time: usize,
        action: String,
    }

    static PLANNED: LazyLock<Option<Plan>> = LazyLock::new(|| {
        let plan = std::env::var(PLAN).ok()?;
        let (point, action) = plan.split_once('=')?;
        let (point, time) = point.split_once('#').unwrap_or((point, "1"));
        Some(Plan { point: point.to_owned(), time: time.parse().ok()?, action: action.to_owned() })
    });
    static TIMES: AtomicUsize = AtomicUsize::new(0);
    static REACHED_FILE: LazyLock<Option<File>> = LazyLock::new(|| opened(REACHED));
    static STEPS_FILE: LazyLock<Option<File>> = LazyLock::new(|| opened(STEPS));

    fn opened(variable: &str) -> Option<File> {
        let path = std::env::var_os(variable)?;
        Some(
            OpenOptions::new().create(true).append(true).open(path).expect("the test named a file that can be written"),
        )
    }

    /// A line at once, so that threads don't mix theirs.
    fn add(file: Option<&File>, line: &str) {
        if let Some(mut file) = file {
            file.write_all(format!("{line}\n").as_bytes()).expect("the test's file can be written");
        }
    }

    pub fn reach(point: Point) -> io::Result<()> {
        add(REACHED_FILE.as_ref(), point.name());
        match PLANNED.as_ref().filter(|plan| plan.point == point.name()) {
            Some(Plan { time, action, .. }) if TIMES.fetch_add(1, Ordering::SeqCst) + 1 == *time => act(action),
            _ => Ok(()),
        }
    }

    fn act(action: &str) -> io::Result<()> {
        match action {
            "stall" => std::thread::sleep(Duration::from_secs(2)),
            "fail" => return Err(io::Error::other("a test had it fail")),
            _ => {
                // Nothing is flushed or undone, as by the system itself.
                let kill = format!("kill -KILL {}", std::process::id());
                _ = Command::new("sh").arg("-c").arg(kill).status();
                std::thread::sleep(Duration::from_mins(1));
            }
        }
        Ok(())
    }

    pub fn record(step: Step<'_>) {
        if STEPS_FILE.is_some() {
            add(
                STEPS_FILE.as_ref(),
                &match step {
                    Step::Created(path) => format!("created\t{}", path.display()),
                    Step::Written(path) => format!("written\t{}", path.display()),
                    Step::Synced(path) => format!("synced\t{}", path.display()),
                    Step::Renamed(from, to) => format!("renamed\t{}\t{}", from.display(), to.display()),
                    Step::DirSynced(path) => format!("dir synced\t{}", path.display()),
                    Step::ReliedOn(segment) => format!("relied on\t{segment}"),
                    Step::Committed => "committed".to_owned(),
                    Step::Acknowledged(path) => format!("acknowledged\t{}", path.display()),
                },
            );
        }
    }
}
