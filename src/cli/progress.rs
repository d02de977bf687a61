//! Progress of long work: a bar on a terminal, a line every few seconds elsewhere.

use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};

use crate::ingest::Progress;

const BETWEEN_LINES: Duration = Duration::from_secs(5);

/// Shows how much has been read.
pub(super) struct Reporter {
    started: Instant,
    way: Way,
}

enum Way {
    Silent,
    Bar(ProgressBar),
    Lines(Mutex<Instant>),
}

impl Reporter {
    pub fn new(quiet: bool) -> Self {
        let way = if quiet {
            Way::Silent
        } else if std::io::stderr().is_terminal() {
            let style =
                ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
            Way::Bar(ProgressBar::no_length().with_style(style))
        } else {
            Way::Lines(Mutex::new(Instant::now()))
        };
        Self { started: Instant::now(), way }
    }

    pub fn show(&self, so_far: Progress) {
        match &self.way {
            Way::Silent => {}
            Way::Bar(bar) => {
                bar.set_message(self.text(so_far));
                bar.tick();
            }
            Way::Lines(last) => {
                if let Ok(mut last) = last.try_lock()
                    && last.elapsed() >= BETWEEN_LINES
                {
                    *last = Instant::now();
                    eprintln!("{}", self.text(so_far));
                }
            }
        }
    }

    fn text(&self, so_far: Progress) -> String {
        // Files are copied.
        if so_far.lines == 0 {
            return format!("copied {}", HumanBytes(so_far.bytes));
        }
        let per_second = so_far.lines / self.started.elapsed().as_secs().max(1);
        format!(
            "read {} lines, {} ({} lines/s)",
            HumanCount(so_far.lines),
            HumanBytes(so_far.bytes),
            HumanCount(per_second)
        )
    }
}
