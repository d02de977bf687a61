//! What the system knows of this process, by the names that every client of Prometheus uses.

use std::fmt::Result;

use super::page::Page;

/// None where the system does not tell, as only Linux does.
#[derive(Debug)]
pub(super) struct Process(Option<Told>);

#[derive(Debug)]
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only Linux tells"))]
struct Told {
    cpu_seconds: f64,
    resident_bytes: u64,
    virtual_bytes: u64,
    open_files: u64,
    /// None where there is no limit.
    most_files: Option<u64>,
    started_at: f64,
    threads: i64,
}

impl Process {
    #[cfg(target_os = "linux")]
    pub fn now() -> Self {
        Self(linux().inspect_err(|error| tracing::debug!(%error, "the system does not tell of this process")).ok())
    }

    #[cfg(not(target_os = "linux"))]
    pub fn now() -> Self {
        Self(None)
    }

    pub fn tell(&self, page: &mut Page<'_>) -> Result {
        let Some(told) = &self.0 else { return Ok(()) };
        page.counter("process_cpu_seconds", "CPU time that this process took, in seconds.", told.cpu_seconds)?;
        page.gauge("process_resident_memory_bytes", "Memory that this process has resident.", told.resident_bytes)?;
        page.gauge("process_virtual_memory_bytes", "Memory that this process has mapped.", told.virtual_bytes)?;
        page.gauge("process_open_fds", "Files that this process has open.", told.open_files)?;
        if let Some(most) = told.most_files {
            page.gauge("process_max_fds", "Files that this process may have open.", most)?;
        }
        page.gauge("process_threads", "Threads of this process.", told.threads)?;
        page.gauge("process_start_time_seconds", "When this process started, since 1970.", told.started_at)
    }
}

#[cfg(target_os = "linux")]
#[expect(clippy::cast_precision_loss, reason = "ticks since the start count up to 2^53 for millions of years")]
fn linux() -> procfs::ProcResult<Told> {
    use procfs::process::{LimitValue, Process};
    use procfs::{CurrentSI as _, KernelStats};
    let process = Process::myself()?;
    let stat = process.stat()?;
    let ticks = procfs::ticks_per_second() as f64;
    let most_files = match process.limits()?.max_open_files.soft_limit {
        LimitValue::Value(most) => Some(most),
        LimitValue::Unlimited => None,
    };
    Ok(Told {
        cpu_seconds: (stat.utime + stat.stime) as f64 / ticks,
        resident_bytes: stat.rss * procfs::page_size(),
        virtual_bytes: stat.vsize,
        open_files: process.fd_count()? as u64,
        most_files,
        started_at: KernelStats::current()?.btime as f64 + stat.starttime as f64 / ticks,
        threads: stat.num_threads,
    })
}
