//! Users who join, change, leave and come back.

use super::author::Author;
use super::directory::UserState;
use super::names;
use super::random::{Kind, index};

impl Author {
    /// Some change to a user of the group. False if none is possible.
    pub(super) fn user_changed(&mut self, group: usize, at: u64) -> bool {
        let drawn = self.random.below(100);
        if (40..67).contains(&drawn) && self.invited_user_registered(group, at) {
            return true;
        }
        if drawn >= 96 && self.user_enabled(group, at) {
            return true;
        }
        let service = self.directory.draw_service(group, at, &mut self.random);
        let Some(user) = self.directory.draw_active_user(service, &mut self.random) else {
            return self.first_user_registered(service, at);
        };
        let joins = drawn < 78 && self.directory.service(service).joined < self.directory.service(service).users;
        match drawn {
            0..67 if joins => self.user_invited(service, user, at),
            67..78 if joins => self.user_registered_uninvited(service, at),
            78..85 => self.group_changed(service, user, at),
            91..96 if self.may_disable(service, user) => self.user_disabled(service, user, at),
            _ => self.user_updated(service, user, at),
        }
        true
    }

    /// Registers a service's first user, who administers it. False if the service has none or has done so before.
    pub(super) fn first_user_registered(&mut self, service: u32, at: u64) -> bool {
        if self.directory.service(service).joined > 0 {
            return false;
        }
        let Some(user) = self.directory.join(service, UserState::ABSENT.registered()) else {
            return false;
        };
        self.user_registered(service, user, at, true);
        true
    }

    fn user_registered_uninvited(&mut self, service: u32, at: u64) {
        let state = UserState::ABSENT.registered().with_guest(self.random.percent(20));
        if let Some(user) = self.directory.join(service, state) {
            self.user_registered(service, user, at, true);
        }
    }

    /// An earlier invitation is accepted.
    fn invited_user_registered(&mut self, group: usize, at: u64) -> bool {
        let Some((service, user)) = self.pending[group].invited.take(&mut self.random, |_| true) else {
            return false;
        };
        self.directory.set_user(user, self.directory.user(user).registered());
        let named = self.random.percent(50);
        self.user_registered(service, user, at, named);
        true
    }

    fn user_registered(&mut self, service: u32, user: u32, at: u64, with_type: bool) {
        self.start("user.registered", service, at);
        self.user_member("userGuid", user);
        if with_type {
            self.draft.text("groupType", self.directory.user(user).group_type());
        }
        self.draft.finish();
    }

    fn user_invited(&mut self, service: u32, inviter: u32, at: u64) {
        let state = UserState::ABSENT.with_guest(self.random.percent(45));
        let Some(user) = self.directory.join(service, state) else {
            return;
        };
        self.start("user.invited", service, at);
        self.user_member("userGuid", user);
        self.draft.text("groupType", state.group_type());
        if self.random.percent(90) {
            self.email("emailAddress", service, user);
        }
        if self.random.percent(70) {
            let (first, last) = names::person(user);
            self.draft.text("firstName", first);
            self.draft.text("lastName", last);
        }
        if self.random.percent(50) {
            self.group(service);
        }
        if self.random.percent(85) {
            self.user_member("invitedByUserGuid", inviter);
            self.email("invitedByEmailAddress", service, inviter);
        }
        self.draft.finish();
        // Some invitations are never accepted.
        if self.random.percent(88) {
            let group = self.directory.service(service).group;
            self.pending[group].invited.put((service, user), &mut self.random);
        }
    }

    fn group_changed(&mut self, service: u32, user: u32, at: u64) {
        let before = self.directory.user(user);
        let state = if self.random.percent(60) { before.other_group_type() } else { before };
        self.directory.set_user(user, state);
        self.start("user.groupChanged", service, at);
        self.user_member("userGuid", user);
        self.draft.text("groupType", state.group_type());
        if self.random.percent(75) {
            self.group(service);
        }
        self.draft.finish();
    }

    /// Not the administrator, and never more than an eighth of a service's users at a time.
    fn may_disable(&self, service: u32, user: u32) -> bool {
        let service = self.directory.service(service);
        user != service.first_user && (service.disabled + 1).saturating_mul(8) <= service.joined
    }

    fn user_disabled(&mut self, service: u32, user: u32, at: u64) {
        self.directory.set_user(user, self.directory.user(user).with_disabled(true));
        self.directory.service_mut(service).disabled += 1;
        self.start("user.disabled", service, at);
        self.user_member("userGuid", user);
        self.draft.finish();
        // The others have left for good.
        if self.random.percent(35) {
            let group = self.directory.service(service).group;
            self.pending[group].disabled.put((service, user), &mut self.random);
        }
    }

    fn user_enabled(&mut self, group: usize, at: u64) -> bool {
        let Some((service, user)) = self.pending[group].disabled.take(&mut self.random, |_| true) else {
            return false;
        };
        self.directory.set_user(user, self.directory.user(user).with_disabled(false));
        self.directory.service_mut(service).disabled -= 1;
        self.start("user.enabled", service, at);
        self.user_member("userGuid", user);
        self.draft.finish();
        true
    }

    fn user_updated(&mut self, service: u32, user: u32, at: u64) {
        self.start("user.updated", service, at);
        self.user_member("userGuid", user);
        match self.random.below(10) {
            0..5 => {
                let (first, last) = names::person(user);
                self.email("emailAddress", service, user);
                self.draft.text("firstName", first);
                self.draft.text("lastName", last);
            }
            5..9 => self.draft.text("lastName", names::last_name(self.random.below(1_000))),
            _ => {
                self.draft.name("isAlias");
                self.draft.raw(if self.random.percent(70) { "true" } else { "false" });
            }
        }
        self.draft.finish();
    }

    /// Adds one of the service's groups of users.
    fn group(&mut self, service: u32) {
        let group = u64::from(self.random.skewed(6));
        self.draft.text("groupName", names::GROUP_NAMES[index(group)]);
        self.draft.guid("groupGuid", self.guids.of(Kind::Group, u64::from(service) * 8 + group));
    }

    /// Adds a user's address; the number keeps it unique.
    fn email(&mut self, name: &str, service: u32, user: u32) {
        let (first, last) = names::person(user);
        self.draft.name(name);
        for part in ["\"", first, ".", last, "."] {
            self.draft.raw(part);
        }
        self.draft.digits(u64::from(user));
        self.draft.raw("@tenant-");
        self.draft.digits(u64::from(service));
        self.draft.raw(".example\"");
    }
}
