//! Whether an installation is healthy: what is late, what is wrong, and what to do about each.

use std::time::Duration;

use serde::Serialize;

use super::files::Files;
use crate::ingest::source::inbox;
use crate::jobs::Reading;
use crate::model::{Day, Instant};
use crate::store::{JobOutcome, LastRun, SourceGauges, Status, Verification};

const EXPLAIN: &str = "explain --service GUID --period DATE --field NAME";

/// Everything that `status` tells.
#[derive(Debug)]
pub struct Health {
    pub now: Instant,
    pub today: Day,
    pub status: Status,
    pub sources: Vec<SourceGauges>,
    pub runs: Vec<LastRun>,
    pub verification: Option<Verification>,
    pub files: Files,
    pub lost: Lost,
    /// What takes longer than it should.
    pub late: Vec<Remark>,
    /// What does not mend by itself.
    pub wrong: Vec<Remark>,
    /// What is worth knowing, and keeps nothing from being right.
    pub notes: Vec<Remark>,
}

/// What the database does not know of its own data directory, since an older copy took its place.
#[derive(Clone, Copy, Debug)]
pub struct Lost {
    pub commits: i64,
    pub segments: usize,
}

/// Something to be told, and the commands that do something about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remark {
    pub what: String,
    /// What is to be done, in words that end where the commands begin; or all of it, where no command does it.
    pub advice: String,
    pub commands: Vec<String>,
}

/// So many of these.
fn some(number: impl Into<i128>, one: &str) -> String {
    let number = number.into();
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

impl Remark {
    fn new(what: impl Into<String>, advice: impl Into<String>, commands: &[&str]) -> Self {
        let commands = commands.iter().map(|command| format!("usage-rollup {command}")).collect();
        Self { what: what.into(), advice: advice.into(), commands }
    }
}

impl Health {
    /// # Errors
    /// When the database fails, or a directory can't be read.
    pub async fn of(reading: &Reading) -> anyhow::Result<Self> {
        let store = &reading.store;
        let status = store.status(reading.now()).await?;
        let files = Files::of(reading)?;
        let mut health = Self {
            now: reading.now(),
            today: reading.today(),
            status,
            sources: store.source_gauges().await?,
            runs: store.last_runs().await?,
            verification: store.verification().await?,
            lost: Lost { commits: reading.lost_commits().await?, segments: files.lost },
            files,
            late: Vec::new(),
            wrong: Vec::new(),
            notes: Vec::new(),
        };
        let Ok(inbox) = inbox::look_at(&reading.config.ingest.inbox) else {
            let dir = reading.config.ingest.inbox.display();
            health.wrong(format!("the inbox {dir} can't be read"), "give the daemon's user the right to", &[]);
            return Ok(health);
        };
        let late_after = reading.config.status.late_after;
        health.judge_store();
        health.judge_verification();
        health.judge_runs(!inbox.ready.is_empty());
        health.judge_dirt(reading.is_being_written(), late_after);
        health.judge_rows(late_after, reading.config.reporting.timezone.start_of(health.today));
        health.judge_inbox(&inbox, late_after)?;
        health.judge_waiting("sent, and not ingested", health.files.spool, late_after);
        health.note();
        Ok(health)
    }

    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.late.is_empty() && self.wrong.is_empty()
    }

    fn late(&mut self, what: impl Into<String>, advice: &str, commands: &[&str]) {
        self.late.push(Remark::new(what, advice, commands));
    }

    fn wrong(&mut self, what: impl Into<String>, advice: &str, commands: &[&str]) {
        self.wrong.push(Remark::new(what, advice, commands));
    }

    fn has_passed(&self, since: Instant, time: Duration) -> bool {
        self.now.seconds().saturating_sub(since.seconds()) > i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
    }

    fn judge_store(&mut self) {
        let Lost { commits, segments } = self.lost;
        if commits > 0 {
            self.wrong(
                format!(
                    "the database is older than its data directory, and lacks the last {} that were made from here",
                    some(commits, "commit")
                ),
                "put the newest copy of the database back, or bring back what the event log has of them with",
                &["orphans adopt"],
            );
        }
        if segments > 0 {
            self.wrong(
                format!(
                    "{} unknown to the database, for it was put back to an older state",
                    some(segments as u64, "segment")
                ),
                "move what is not wanted out of orphans/lost, or have it in the log again with",
                &["orphans adopt"],
            );
        }
        if self.status.inputs_failed > 0 {
            let what = format!("{} could not be read to the end", some(self.status.inputs_failed, "input"));
            self.wrong(what, "mend the files, and read them again with", &["ingest FILE…"]);
        }
    }

    fn judge_verification(&mut self) {
        let Some(verification) = &self.verification else { return };
        let (differences, unreadable) = (verification.differences(), verification.unreadable_days());
        let at = verification.at().to_rfc3339_seconds();
        if differences > 0 {
            let what = format!(
                "verifying found {} between store and event log, last at {at}",
                some(differences, "difference")
            );
            self.wrong(what, "see them, and make them anew from the event log, with", &["verify", "verify --repair"]);
        }
        if unreadable > 0 {
            let what = format!("verifying could not read {} of the event log, last at {at}", some(unreadable, "day"));
            self.wrong(what, "put their files back from a backup, and look again with", &["verify"]);
        }
    }

    /// A run that failed is done with once its job has run again, or another one that does all that it was to do.
    fn judge_runs(&mut self, files_wait: bool) {
        let failed = self.runs.iter().filter(|run| run.outcome == Some(JobOutcome::Failed));
        let failed: Vec<LastRun> = failed.filter(|run| !self.is_done_with(run, files_wait)).cloned().collect();
        for LastRun { job, started_at, .. } in failed {
            let what = format!("the last `{job}` failed; it began at {}", started_at.to_rfc3339_seconds());
            self.wrong(what, "the log says why; try again with", &[job.as_str()]);
        }
    }

    /// An ingest ends in a rollup; and where nothing is left to be taken, rolling up is all that an ingest was to do.
    fn is_done_with(&self, failed: &LastRun, files_wait: bool) -> bool {
        let since = |job| self.runs.iter().any(|run| run.job == job && run.done_id > Some(failed.id));
        match failed.job.as_str() {
            "rollup" => since("ingest"),
            "ingest" => !files_wait && self.status.inputs_reading == 0 && since("rollup"),
            _ => false,
        }
    }

    /// Days and services that wait, though nobody is at work on them.
    fn judge_dirt(&mut self, is_being_written: Option<bool>, late_after: Duration) {
        let Status { dirty_partitions, dirty_services, .. } = self.status;
        if dirty_partitions + dirty_services == 0 {
            return;
        }
        let what = format!("to be rolled up: {}, {}", some(dirty_partitions, "day"), some(dirty_services, "service"));
        let under_way = self.runs.iter().find(|run| run.is_latest && run.outcome.is_none());
        // From another machine it can't be seen whether a run still goes on.
        let goes_on = is_being_written
            .unwrap_or_else(|| under_way.is_some_and(|run| !self.has_passed(run.started_at, late_after)));
        let was_cut_short = self.runs.iter().any(|run| run.outcome != Some(JobOutcome::Done));
        let last_end = self.runs.iter().filter_map(|run| run.ended_at).max();
        if goes_on {
            self.notes.push(Remark::new(what, "a job is at work", &[]));
        } else if was_cut_short || last_end.is_none_or(|end| self.has_passed(end, late_after)) {
            self.late(what, "let the daemon do it, or", &["rollup"]);
        } else {
            self.notes.push(Remark::new(what, "the daemon does it at its next turn; or", &["rollup"]));
        }
    }

    fn judge_rows(&mut self, late_after: Duration, began: Instant) {
        let today = self.today.to_string();
        if self.status.daily_rows == 0 || self.status.rows_through.as_ref().is_none_or(|through| *through >= today) {
            return;
        }
        let what = format!("rows do not reach today, {today}");
        // A day that has just begun is begun by the next turn, where the rows reach the day before.
        let reach_yesterday = self.status.rows_through.as_ref() == Some(&self.today.previous().to_string());
        if reach_yesterday && !self.has_passed(began, late_after) {
            self.notes.push(Remark::new(what, "the daemon begins it at its next turn; or", &["rollup"]));
        } else {
            self.late(what, "start the daemon, or bring them up to today, with", &["run", "rollup"]);
        }
    }

    /// Files that could not be read lie there, too, and are told of already.
    fn judge_inbox(&mut self, inbox: &inbox::Found, late_after: Duration) -> anyhow::Result<()> {
        let ready = inbox::Waiting::of(inbox.ready.iter().map(|file| file.path.as_path()))?;
        let others = ready.files.saturating_sub(self.status.inputs_failed.unsigned_abs());
        self.judge_waiting("in the inbox", inbox::Waiting { files: others, ..ready }, late_after);
        if !inbox.waiting.is_empty() {
            let what = format!("in the inbox, not whole yet: {}", some(inbox.waiting.len() as u64, "file"));
            let advice = "it waits for the writer to rest, or for the last line to end with a newline";
            self.notes.push(Remark::new(what, advice, &[]));
        }
        Ok(())
    }

    /// Files that are in no number yet, though they could be for long.
    fn judge_waiting(&mut self, place: &str, waiting: inbox::Waiting, late_after: Duration) {
        let since = waiting.since().filter(|since| waiting.files > 0 && self.has_passed(*since, late_after));
        if let Some(since) = since {
            let files = some(waiting.files, "file");
            let what = format!("{place}: {files}, the first since {}", since.to_rfc3339_seconds());
            self.late(what, "start the daemon, or take them once, with", &["run", "ingest"]);
        }
    }

    fn note(&mut self) {
        let Status { ledger, dead_letters, clamped_rows, pending_rows, pending_services, .. } = &self.status;
        let mut notes = Vec::new();
        for (reason, letters) in dead_letters {
            let list = format!("dead-letters list --reason {reason}");
            notes.push(Remark::new(
                format!("rejected, {reason}: {}", some(*letters, "line")),
                "see them with",
                &[&list],
            ));
        }
        let mut note = |number: i64, what: &str, advice: &str, commands: &[&str]| {
            if number > 0 {
                notes.push(Remark::new(format!("{number} {what}"), advice, commands));
            }
        };
        let what = "events conflict with an earlier event of the same identity, and do not count";
        note(ledger.conflicting, what, "see which with", &[EXPLAIN]);
        let what = "daily rows show a number that is not the exact sum: storage below zero, or beyond 2^63 - 1";
        note(*clamped_rows, what, "see why with", &[EXPLAIN]);
        let what = format!("rows of {pending_services} services in locked months wait for these to be unlocked");
        note(*pending_rows, &what, "see them with", &["periods list"]);
        let what = "services have events but no directory entry: the API answers 404";
        note(self.status.services_without_entry, what, "tell of them with", &["services import FILE"]);
        if let Some(disk) = self.files.disk.filter(|disk| disk.free < disk.bytes / 20) {
            let what = format!("the disk has less than a twentieth free: {} bytes", disk.free);
            notes.push(Remark::new(what, "make room: what finds none stops, and goes on once there is some", &[]));
        }
        self.notes.extend(notes);
    }
}
