//! Time as a value: nothing below `main` asks the wall clock for the time of day.

use std::str::FromStr;

use crate::model::Instant;

/// What time it is, for reporting and `computed_at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    System,
    /// Always this instant, to reproduce a run (`--now`).
    Fixed(Instant),
}

impl Clock {
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the wall clock")]
    pub fn now(self) -> Instant {
        match self {
            Self::System => chrono::Utc::now().into(),
            Self::Fixed(instant) => instant,
        }
    }
}

/// The form of `--now`: an instant in RFC 3339.
impl FromStr for Clock {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Instant::parse_rfc3339(text)
            .map(Self::Fixed)
            .ok_or_else(|| format!("'{text}' is not an instant; expected RFC 3339 such as 2026-03-04T05:06:07Z"))
    }
}
