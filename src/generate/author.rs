//! Writes the events' lines: decides what happens in a service, and puts it into words.

use super::calendar::{DAY, GROUPS, HOUR, Slots, source_of};
use super::directory::{Directory, Service};
use super::names::TOOLBAR_VERSIONS;
use super::pool::Pool;
use super::random::{Guids, Kind, Random, index, mix, power_of_two};
use super::text::Draft;

/// Shares of events in 0.01 %; the rest of 10,000 is `message.sent`.
const RETRIEVED: u64 = 2_500;
const FEATURES: u64 = 1_200;
const LOGINS: u64 = 600;
const USER_CHANGES: u64 = 420;
const PURGES: u64 = 300;
const VOIDS: u64 = 5;

const FEATURE_NAMES: [&str; 5] =
    ["SecureMessagingGateway", "SecureMessagingPlus", "DataLeakPrevention", "SecureLargeFiles", "SecureForms"];

/// A message that somebody is still to retrieve.
struct Unread {
    message: u64,
    service: u32,
    reader: u32,
}

/// An attachment that is still stored.
struct Stored {
    attachment: u64,
    size_bytes: u64,
    sent: u64,
    service: u32,
}

/// An event that may be taken back.
struct Voidable {
    event: u64,
    at: u64,
    service: u32,
}

/// What may still happen in a group of services, so that it happens in the group's own working hours.
pub(super) struct Pending {
    unread: Pool<Unread>,
    stored: Pool<Stored>,
    voidable: Pool<Voidable>,
    /// Users who were invited, and users who were disabled, with their service.
    pub(super) invited: Pool<(u32, u32)>,
    pub(super) disabled: Pool<(u32, u32)>,
}

/// The state from which the next event is written. Events are written in order of their times.
pub(super) struct Author {
    pub(super) seed: u64,
    pub(super) random: Random,
    pub(super) guids: Guids,
    pub(super) directory: Directory,
    pub(super) pending: [Pending; GROUPS],
    pub(super) draft: Draft,
    events: u64,
    messages: u64,
    /// How many in 10^9 events change a service's entry in the directory.
    service_changes: u64,
}

impl Author {
    /// `slots` is the number of events to choose freely, over `days` days.
    pub(super) fn new(seed: u64, directory: Directory, slots: u64, days: u64) -> Self {
        // Messages are read within about a day: a group keeps about half a day's worth.
        let unread = index((slots / days / (2 * GROUPS as u64)).clamp(64, 8_192));
        let pending = std::array::from_fn(|_| Pending {
            unread: Pool::new(unread),
            stored: Pool::new(32_768),
            voidable: Pool::new(256),
            invited: Pool::new(4_096),
            disabled: Pool::new(4_096),
        });
        // A service changes about twice a year.
        let changes = directory.services().len() as u64 * days * (1_000_000_000 / 180);
        Self {
            seed,
            random: Random::new(seed, 3),
            guids: Guids::new(seed),
            directory,
            pending,
            draft: Draft::new(),
            events: 0,
            messages: 0,
            service_changes: (changes / slots.max(1)).min(500_000),
        }
    }

    /// Writes whatever happens at `at` (ms since 1970) in a group that is active then.
    pub(super) fn something(&mut self, slots: &Slots, at: u64) {
        if self.random.below(1_000_000_000) < self.service_changes && self.service_changed(at) {
            return;
        }
        let group = slots.group(&mut self.random);
        let mut drawn = self.random.below(10_000);
        let mut is = |share: u64| {
            let hit = drawn < share;
            drawn = drawn.wrapping_sub(share);
            hit
        };
        let written = if is(RETRIEVED) {
            self.message_retrieved(group, at)
        } else if is(FEATURES) {
            let service = self.directory.draw_service(group, at, &mut self.random);
            self.feature_used(service, at)
        } else if is(LOGINS) {
            let service = self.directory.draw_service(group, at, &mut self.random);
            self.logged_in(service, at)
        } else if is(USER_CHANGES) {
            self.user_changed(group, at)
        } else if is(PURGES) {
            self.attachment_purged(group, at)
        } else if is(VOIDS) {
            self.event_voided(group, at)
        } else {
            false
        };
        if !written {
            self.message_sent(group, at);
        }
    }

    /// Starts an event of a service and returns its number.
    pub(super) fn start(&mut self, kind: &str, service: u32, at: u64) -> u64 {
        let number = self.events;
        self.events += 1;
        let source = source_of(self.directory.service(service).group);
        let id = self.guids.of(Kind::Event, number);
        let subject = self.guids.of(Kind::Service, u64::from(service));
        self.draft.start(id, source, kind, subject, at);
        number
    }

    /// Adds a member that names a user.
    pub(super) fn user_member(&mut self, name: &str, user: u32) {
        self.draft.guid(name, self.guids.of(Kind::User, u64::from(user)));
    }

    /// A login, or the administrator's registration if nobody could log in yet. False if the service has no users.
    pub(super) fn logged_in(&mut self, service: u32, at: u64) -> bool {
        let Some(user) = self.directory.draw_active_user(service, &mut self.random) else {
            return self.first_user_registered(service, at);
        };
        self.start("user.loggedIn", service, at);
        self.user_member("userGuid", user);
        if mix(u64::from(user)) % 10 < 6 {
            // Everyone updates now and then, but not all at the same time.
            let hash = mix(u64::from(user));
            let release = (hash >> 32) % 4 + mix(hash ^ (at / (40 * DAY))) % 2;
            self.draft.text("toolbarVersion", TOOLBAR_VERSIONS[index(release)]);
        }
        self.draft.finish();
        true
    }

    /// Use of a feature; every service has two that it uses most. Always possible, without users too.
    pub(super) fn feature_used(&mut self, service: u32, at: u64) -> bool {
        let user = self.directory.draw_active_user(service, &mut self.random);
        let event = self.start("feature.used", service, at);
        let favourite = mix(self.seed ^ u64::from(service));
        let drawn = self.random.below(100);
        let feature = match drawn {
            0..50 => favourite % 5,
            50..80 => (favourite >> 32) % 5,
            _ => drawn % 5,
        };
        self.draft.text("feature", FEATURE_NAMES[index(feature)]);
        if let Some(user) = user.filter(|_| self.random.percent(85)) {
            self.user_member("userGuid", user);
        }
        if self.random.percent(40) {
            let quantity = power_of_two(self.random.below(4 << 16));
            self.draft.number("quantity", quantity);
        }
        self.draft.finish();
        if self.random.percent(2) {
            self.may_void(event, service, at);
        }
        true
    }

    fn message_sent(&mut self, group: usize, at: u64) {
        let service = self.directory.draw_service(group, at, &mut self.random);
        let Some(sender) = self.directory.draw_active_user(service, &mut self.random) else {
            if !self.first_user_registered(service, at) {
                self.feature_used(service, at);
            }
            return;
        };
        let message = self.messages;
        self.messages += 1;
        let event = self.start("message.sent", service, at);
        self.draft.guid("messageGuid", self.guids.of(Kind::Message, message));
        self.user_member("userGuid", sender);
        let reader = self.recipients(service, sender);
        // A message that may be taken back is neither read nor are its attachments purged.
        let voidable = self.random.percent(1);
        if self.random.percent(14) {
            self.attachments(message, service, at, !voidable);
        }
        self.draft.finish();
        let group = self.directory.service(service).group;
        if voidable {
            self.may_void(event, service, at);
        } else if let Some(reader) = reader {
            self.pending[group].unread.put(Unread { message, service, reader }, &mut self.random);
        }
    }

    /// Adds the recipients to a message and returns one of them. Some are outside: they are counted, not named.
    fn recipients(&mut self, service: u32, sender: u32) -> Option<u32> {
        let Service { first_user, users, .. } = *self.directory.service(service);
        let wanted = match self.random.below(100) {
            0..70 => 1,
            70..88 => 2,
            88..98 => self.random.between(3, 5),
            _ => self.random.between(6, 12),
        };
        let named = wanted.min(u64::from(users) - 1);
        let outside = u64::from(self.random.percent(10)) * self.random.between(1, 3);
        let start = self.random.skewed(users);
        let mut reader = None;
        if named > 0 {
            self.draft.name("recipientUserGuids");
            let mut separator = "[";
            let circle = (start..users).chain(0..start).map(|at| first_user + at).filter(|user| *user != sender);
            for user in circle.take(index(named)) {
                self.draft.raw(separator);
                self.draft.bare_guid(self.guids.of(Kind::User, u64::from(user)));
                separator = ",";
                reader = reader.or(Some(user));
            }
            self.draft.raw("]");
        }
        if outside > 0 || named == 0 || self.random.percent(70) {
            self.draft.number("recipientCount", if named == 0 { wanted } else { named + outside });
        }
        reader
    }

    /// Adds one to three attachments, from 256 bytes to 64 MiB and mostly about 128 KiB.
    fn attachments(&mut self, message: u64, service: u32, at: u64, keep: bool) {
        let count = [1, 1, 1, 1, 1, 2, 2, 2, 3, 3][index(self.random.below(10))];
        let group = self.directory.service(service).group;
        self.draft.name("attachments");
        let mut separator = "[{";
        for place in 0..count {
            let attachment = message.wrapping_mul(4) + place;
            // A sum of draws as the exponent comes close to a log-normal distribution.
            let exponent: u64 = (0..4).map(|_| self.random.below(9 << 15)).sum();
            let size_bytes = power_of_two((8 << 16) + exponent);
            self.draft.raw(separator);
            self.draft.guid("attachmentGuid", self.guids.of(Kind::Attachment, attachment));
            self.draft.number("sizeBytes", size_bytes);
            self.draft.raw("}");
            separator = ",{";
            if keep {
                let stored = Stored { attachment, size_bytes, sent: at, service };
                self.pending[group].stored.put(stored, &mut self.random);
            }
        }
        self.draft.raw("]");
    }

    fn message_retrieved(&mut self, group: usize, at: u64) -> bool {
        let Some(unread) = self.pending[group].unread.take(&mut self.random, |_| true) else {
            return false;
        };
        if self.directory.user(unread.reader).is_disabled() {
            return false;
        }
        let event = self.start("message.retrieved", unread.service, at);
        self.draft.guid("messageGuid", self.guids.of(Kind::Message, unread.message));
        self.user_member("userGuid", unread.reader);
        self.draft.finish();
        if self.random.percent(1) {
            self.may_void(event, unread.service, at);
        }
        true
    }

    /// Frees an attachment that was sent an hour ago or earlier.
    fn attachment_purged(&mut self, group: usize, at: u64) -> bool {
        let ready = |stored: &Stored| stored.sent + HOUR <= at;
        let Some(stored) = self.pending[group].stored.take(&mut self.random, ready) else {
            return false;
        };
        self.start("attachment.purged", stored.service, at);
        self.draft.guid("attachmentGuid", self.guids.of(Kind::Attachment, stored.attachment));
        self.draft.number("sizeBytes", stored.size_bytes);
        self.draft.finish();
        true
    }

    fn may_void(&mut self, event: u64, service: u32, at: u64) {
        let group = self.directory.service(service).group;
        self.pending[group].voidable.put(Voidable { event, at, service }, &mut self.random);
    }

    fn event_voided(&mut self, group: usize, at: u64) -> bool {
        let Some(voided) = self.pending[group].voidable.take(&mut self.random, |_| true) else {
            return false;
        };
        self.start("event.voided", voided.service, at);
        self.draft.text("source", source_of(group));
        self.draft.guid("id", self.guids.of(Kind::Event, voided.event));
        self.draft.time("time", voided.at);
        self.draft.finish();
        true
    }
}
