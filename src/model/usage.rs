//! A ServiceUsage row (`spec/usage.md`, Columns).

use uuid::Uuid;

use super::{Day, IdentityHash, Instant, PeriodType};

/// How many features are counted.
pub const FEATURES: usize = 5;
/// How many classes a user can be in.
pub const USER_CLASSES: usize = 4;

/// The class that a user is in at an instant; the order is that of the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum UserClass {
    Pro,
    Guest,
    Disabled,
    Unregistered,
}

/// What is held at the end of a period: users by class, and bytes. Exact, before anything is cut to 63 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Gauges {
    /// Indexed by [`UserClass`].
    pub users: [i64; USER_CLASSES],
    /// Bytes stored less bytes purged; below zero where more was purged than was seen to be stored.
    pub storage: i128,
}

impl Gauges {
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        for (sum, more) in self.users.iter_mut().zip(other.users) {
            *sum += more;
        }
        self.storage += other.storage;
        self
    }

    #[must_use]
    pub fn minus(mut self, other: &Self) -> Self {
        for (sum, less) in self.users.iter_mut().zip(other.users) {
            *sum -= less;
        }
        self.storage -= other.storage;
        self
    }
}

/// The 13 numbers of a row as they are shown, in the order of the export's header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers(pub [i64; 13]);

impl Numbers {
    /// Their columns, in the same order.
    pub const COLUMNS: [&'static str; 13] = [
        "total_user_count",
        "pro_user_count",
        "guest_user_count",
        "disabled_user_count",
        "unregistered_user_count",
        "feature_usage_secure_messaging_gateway",
        "feature_usage_secure_messaging_plus",
        "feature_usage_data_leak_prevention",
        "feature_usage_secure_large_files",
        "feature_usage_secure_forms",
        "total_message_count",
        "total_attachment_count",
        "attachment_storage_usage",
    ];
}

/// How final a row is (`spec/usage.md`, Which rows exist).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowState {
    Open,
    Settling,
    Closed,
    Restated,
    /// Nothing changes it until its month is unlocked. Not stored with the row: the month's lock says so.
    Locked,
}

impl RowState {
    const ALL: [Self; 5] = [Self::Open, Self::Settling, Self::Closed, Self::Restated, Self::Locked];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Settling => "settling",
            Self::Closed => "closed",
            Self::Restated => "restated",
            Self::Locked => "locked",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// Why a row that was closed changed. What changes in one commit of a service shares one reason: the strongest, which is the
/// last of these, of all that made the service dirty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Nothing new arrived: a backfill found it.
    #[default]
    Backfill,
    /// Events arrived.
    Late,
    /// Events arrived, and which of them conflict with another one is not what it was.
    Conflict,
    /// A void took an event back.
    Void,
}

impl Reason {
    const ALL: [Self; 4] = [Self::Backfill, Self::Late, Self::Conflict, Self::Void];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Backfill => "backfill",
            Self::Late => "late",
            Self::Conflict => "conflict",
            Self::Void => "void",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }

    /// Its number in the order of strength.
    #[must_use]
    pub const fn strength(self) -> i64 {
        self as i64
    }

    #[must_use]
    pub fn from_strength(strength: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.strength() == strength)
    }
}

/// One row: the numbers of a service for a period, and what makes them trustworthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRow {
    pub service: Uuid,
    pub period_type: PeriodType,
    /// The first day of the period, in the reporting time zone.
    pub period: Day,
    pub numbers: Numbers,
    pub event_count: i64,
    pub input_digest: IdentityHash,
    /// Whether a number is not the exact sum: storage below zero shown as 0, or a sum held at 2^63 − 1.
    pub clamped: bool,
    pub revision: i64,
    pub state: RowState,
    pub computed_at: Instant,
    /// When an open or settling row becomes closed.
    pub closes_at: Instant,
}

impl UsageRow {
    /// The row as it is while its month is locked.
    #[must_use]
    pub fn locked(self) -> Self {
        Self { state: RowState::Locked, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_and_states_are_known_by_their_names() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_name(reason.name()), Some(reason));
            assert_eq!(Reason::from_strength(reason.strength()), Some(reason));
        }
        assert!(Reason::ALL.is_sorted_by_key(|reason| reason.strength()));
        for state in RowState::ALL {
            assert_eq!(RowState::from_name(state.name()), Some(state));
        }
    }
}
