//! The services and users of a plan, and what state they are in at the point that the stream has reached.

use super::calendar::{DAY, GROUPS, HOUR, group_of, offset_of};
use super::random::{Random, index, mix};

/// A service's `status`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Blocked,
    AccountCancelled,
    AccountSuspended,
    Provisioning,
    TrialExpired,
    TrialActive,
    DemoAccount,
    CertifiedSecure,
}

impl Status {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Blocked => "Blocked",
            Self::AccountCancelled => "AccountCancelled",
            Self::AccountSuspended => "AccountSuspended",
            Self::Provisioning => "Provisioning",
            Self::TrialExpired => "TrialExpired",
            Self::TrialActive => "TrialActive",
            Self::DemoAccount => "DemoAccount",
            Self::CertifiedSecure => "CertifiedSecure",
        }
    }

    /// Whether users can do anything there.
    fn is_open(self) -> bool {
        !matches!(self, Self::Blocked | Self::AccountCancelled | Self::AccountSuspended)
    }
}

/// A service; services are numbered by activity, the busiest is 0.
pub(super) struct Service {
    /// When its first event happens, in ms since 1970.
    pub(super) starts: u64,
    /// Whether it existed long before the plan's first day.
    pub(super) established: bool,
    pub(super) group: usize,
    pub(super) status: Status,
    /// The number of its first user, and how many it has; users' numbers run on from service to service.
    pub(super) first_user: u32,
    pub(super) users: u32,
    /// How many of them were invited or registered so far, in order of their numbers, and how many are disabled.
    pub(super) joined: u32,
    pub(super) disabled: u32,
}

/// What the stream has said about a user so far: a byte each, as there may be millions.
#[derive(Clone, Copy)]
pub(super) struct UserState(u8);

impl UserState {
    pub(super) const ABSENT: Self = Self(0);
    const REGISTERED: u8 = 1;
    const DISABLED: u8 = 2;
    const GUEST: u8 = 4;

    pub(super) fn is_registered(self) -> bool {
        self.0 & Self::REGISTERED != 0
    }

    pub(super) fn is_disabled(self) -> bool {
        self.0 & Self::DISABLED != 0
    }

    /// Registered and not disabled.
    pub(super) fn is_active(self) -> bool {
        self.is_registered() && !self.is_disabled()
    }

    pub(super) fn group_type(self) -> &'static str {
        if self.0 & Self::GUEST == 0 { "Professional" } else { "Guest" }
    }

    pub(super) fn registered(self) -> Self {
        Self(self.0 | Self::REGISTERED)
    }

    pub(super) fn with_disabled(self, disabled: bool) -> Self {
        Self(if disabled { self.0 | Self::DISABLED } else { self.0 & !Self::DISABLED })
    }

    pub(super) fn with_guest(self, guest: bool) -> Self {
        Self(if guest { self.0 | Self::GUEST } else { self.0 & !Self::GUEST })
    }

    pub(super) fn other_group_type(self) -> Self {
        Self(self.0 ^ Self::GUEST)
    }
}

/// All services and users. Services' activity follows Zipf's law, and so do their numbers of users.
pub(super) struct Directory {
    services: Vec<Service>,
    users: Vec<UserState>,
    /// Per group, its services with the running sum of their activity.
    by_group: [Vec<(u64, u32)>; GROUPS],
}

impl Directory {
    /// `services` of them sharing `users`, over `days` days from `first_day` (days since 1970).
    pub(super) fn new(seed: u64, services: u32, users: u32, first_day: u64, days: u64) -> Self {
        let mut random = Random::new(seed, 1);
        let mut by_group = [const { Vec::<(u64, u32)>::new() }; GROUPS];
        let all_activity: u64 = (0..services).map(activity).sum();
        // Everyone gets one user if there are enough, the rest is shared by activity.
        let beyond_first = u64::from(users.saturating_sub(services));
        let (mut activity_before, mut first_user) = (0, 0);
        let mut list = Vec::with_capacity(index(u64::from(services)));
        for number in 0..services {
            let group = group_of(mix(seed ^ mix(u64::from(number))));
            let activity_after = activity_before + activity(number);
            let share = beyond_first * activity_after / all_activity - beyond_first * activity_before / all_activity;
            activity_before = activity_after;
            let own = u32::from(number < users) + u32::try_from(share).unwrap_or(0);
            let late = days > 1 && number >= 10 && random.percent(18);
            let starts = if late {
                late_start(&mut random, group, first_day, days)
            } else {
                early_start(&mut random, number, first_day)
            };
            let sum = by_group[group].last().map_or(0, |(sum, _)| *sum) + activity(number);
            by_group[group].push((sum, number));
            let status = first_status(number, services, &mut random);
            list.push(Service {
                starts,
                established: !late,
                group,
                status,
                first_user,
                users: own,
                joined: 0,
                disabled: 0,
            });
            first_user += own;
        }
        Self { services: list, users: vec![UserState::ABSENT; index(u64::from(users))], by_group }
    }

    /// The sum of activity in each group.
    pub(super) fn activity_of_groups(&self) -> [u64; GROUPS] {
        let mut sums = [0; GROUPS];
        for (sum, list) in sums.iter_mut().zip(&self.by_group) {
            *sum = list.last().map_or(0, |(sum, _)| *sum);
        }
        sums
    }

    pub(super) fn services(&self) -> &[Service] {
        &self.services
    }

    pub(super) fn service(&self, number: u32) -> &Service {
        &self.services[index(u64::from(number))]
    }

    pub(super) fn service_mut(&mut self, number: u32) -> &mut Service {
        &mut self.services[index(u64::from(number))]
    }

    pub(super) fn user(&self, user: u32) -> UserState {
        self.users[index(u64::from(user))]
    }

    pub(super) fn set_user(&mut self, user: u32, state: UserState) {
        self.users[index(u64::from(user))] = state;
    }

    /// Makes the service's next user join, if it has one that hasn't.
    pub(super) fn join(&mut self, service: u32, state: UserState) -> Option<u32> {
        let service = self.service_mut(service);
        if service.joined == service.users {
            return None;
        }
        let user = service.first_user + service.joined;
        service.joined += 1;
        self.set_user(user, state);
        Some(user)
    }

    /// A service of the group that has started and is open, each as often as it is active. If chance finds none
    /// it is service 0, which starts first and never closes.
    pub(super) fn draw_service(&self, group: usize, at: u64, random: &mut Random) -> u32 {
        let list = &self.by_group[group];
        let limit = list.last().map_or(0, |(sum, _)| *sum);
        for _ in 0..8 {
            let drawn = random.below(limit);
            let Some((_, number)) = list.get(list.partition_point(|(sum, _)| *sum <= drawn)) else {
                break;
            };
            let service = self.service(*number);
            if service.starts < at && service.status.is_open() {
                return *number;
            }
        }
        0
    }

    /// A registered and enabled user, a few much more often than the others. If chance finds none it is the first,
    /// who administers the service and is never disabled; nobody if that one hasn't registered yet.
    pub(super) fn draw_active_user(&self, service: u32, random: &mut Random) -> Option<u32> {
        let service = self.service(service);
        for _ in 0..4 {
            let user = service.first_user + random.skewed(service.joined);
            if service.joined > 0 && self.user(user).is_active() {
                return Some(user);
            }
        }
        (service.joined > 0 && self.user(service.first_user).is_active()).then_some(service.first_user)
    }
}

/// Zipf's law, a little flatter at the top.
fn activity(number: u32) -> u64 {
    (1 << 24) / (u64::from(number) + 3)
}

/// Established services are all announced in the first minutes.
fn early_start(random: &mut Random, number: u32, first_day: u64) -> u64 {
    first_day * DAY + if number == 0 { 0 } else { random.below(5 * 60_000) }
}

/// Others start on a later day, between nine and five where they are, as far as that is the same day in UTC.
fn late_start(random: &mut Random, group: usize, first_day: u64, days: u64) -> u64 {
    let day = first_day + random.between(1, days - 1);
    let local_hour = random.between(9, 16);
    let hour = local_hour.saturating_add_signed(-offset_of(group)).min(22);
    (day * 24 + hour) * HOUR + random.below(HOUR)
}

/// Mostly paying and trial services; among twenty or more, one is blocked and one not yet provisioned.
fn first_status(number: u32, services: u32, random: &mut Random) -> Status {
    let drawn = random.below(100);
    if services >= 20 && number == services - 1 {
        return Status::Blocked;
    }
    if services >= 20 && number == services - 2 {
        return Status::Provisioning;
    }
    match drawn {
        _ if number < 4 => Status::CertifiedSecure,
        70..90 => Status::TrialActive,
        90..93 => Status::TrialExpired,
        93..96 => Status::DemoAccount,
        96..98 => Status::AccountSuspended,
        98..99 => Status::AccountCancelled,
        _ => Status::CertifiedSecure,
    }
}
