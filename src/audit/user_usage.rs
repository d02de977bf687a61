//! What a service's users did in a period (`spec/usage.md`, Per-user numbers), from the service's whole history up to its end: a
//! user's name, group and last deeds may be years old.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::line::{self, DaySlice, Earlier, Fate, Line};
use crate::event_log::EventLogError;
use crate::model::{Day, Erased, EventData, EventType, GroupType, Instant, Masks, PeriodType, Zone};
use crate::rollup::{ContentOrders, VoidMark};

/// Whose numbers are asked for, and of which period.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub service: Uuid,
    pub period_type: PeriodType,
    /// The first day of the period.
    pub period: Day,
    pub zone: Zone,
    /// In nanoseconds (`ingest.identity_window`).
    pub identity_window: i64,
    pub masks: Masks,
}

/// A user as of the end of the period, with what the period has of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserUsage {
    pub email_address: Option<String>,
    pub is_alias: bool,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub is_disabled: bool,
    /// None of one who only sent, received or logged in.
    pub created_on: Option<Instant>,
    pub registered_on: Option<Instant>,
    pub last_login: Option<Instant>,
    pub group_name: Option<String>,
    pub group_type: Option<GroupType>,
    pub group_guid: Option<Uuid>,
    pub messages_sent: i64,
    pub messages_received: i64,
    pub attachments: i64,
    /// In bytes.
    pub attachments_size: i64,
    pub invitations_sent: i64,
    pub invitations_accepted: i64,
    pub last_toolbar_version: Option<String>,
    pub invited_by_email_address: Option<String>,
    pub last_message_sent: Option<Instant>,
    pub last_message_retrieved: Option<Instant>,
    /// The last event that names the user, whatever it says.
    pub last_activity: Option<Instant>,
    /// Whether any event of the period names the user.
    pub is_active: bool,
    /// By whom the user was invited last, until the user registers.
    inviter: Option<Uuid>,
}

/// Users that are found day by day.
pub struct UsersUsage {
    asked: Asked,
    users: BTreeMap<Uuid, UserUsage>,
    earlier: Earlier,
}

/// A service's lines in a slice, and what each says of users. It stays as it is, for segments do.
#[derive(Debug)]
pub struct UserLines {
    /// By their rows.
    lines: Vec<Line>,
    /// Of each line.
    data: Vec<EventData<'static>>,
}

impl UserLines {
    /// # Errors
    /// When the segment can't be read or is damaged.
    pub fn read(service: Uuid, slice: &DaySlice<'_>, masks: &Masks) -> Result<Self, EventLogError> {
        let mut data = Vec::new();
        let lines = line::read_slice(service, (slice, 0), masks, |line| data.push(owned(line.event.data)))?;
        Ok(Self { lines, data })
    }

    /// How many lines.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The lines, as those of the slice with this number among those of its day.
    fn of_slice(&self, slice: usize) -> impl Iterator<Item = Line> {
        self.lines.iter().cloned().map(move |mut line| {
            line.slice = slice;
            line
        })
    }

    fn data_of(&self, row: usize) -> Option<&EventData<'static>> {
        self.lines.binary_search_by_key(&row, |line| line.row).ok().map(|at| &self.data[at])
    }
}

impl Asked {
    /// The UTC days to read.
    #[must_use]
    pub fn days_to_read(&self) -> (Day, Day) {
        (Day(i32::MIN), Day::utc_of(Instant::from_nanos(self.end().nanos() - 1)))
    }

    fn end(&self) -> Instant {
        self.zone.start_of(self.period_type.after(self.period))
    }
}

impl UsersUsage {
    #[must_use]
    pub fn new(asked: Asked) -> Self {
        Self { asked, users: BTreeMap::new(), earlier: Earlier::default() }
    }

    /// Takes the service's lines of the next UTC day: of each of its slices those that were read.
    ///
    /// # Errors
    /// When a segment can't be read or is damaged in which contents lie that conflict.
    pub fn take_day(
        &mut self,
        partition: Day,
        slices: &[DaySlice<'_>],
        read: &[Arc<UserLines>],
        voids: &[VoidMark],
        orders: &ContentOrders,
    ) -> Result<(), EventLogError> {
        let Asked { service, identity_window: window, .. } = self.asked;
        let lines = read.iter().zip(0..).flat_map(|(read, slice)| read.of_slice(slice)).collect();
        let judged = line::judge(service, lines, slices, (voids, orders), &self.earlier, window)?;
        let (start, end) = (self.asked.zone.start_of(self.asked.period), self.asked.end());
        let counted = judged.lines.iter().zip(&judged.fates).filter(|(_, fate)| **fate == Fate::Counts);
        for (line, _) in counted.filter(|(line, _)| line.time < end) {
            if let Some(data) = read[line.slice].data_of(line.row) {
                self.take(line, data, line.time >= start);
            }
        }
        self.earlier.end_day(&judged, slices, false, partition.next().utc_start(), window);
        Ok(())
    }

    /// All users that any event names, by GUID.
    #[must_use]
    pub fn finish(self) -> BTreeMap<Uuid, UserUsage> {
        self.users
    }

    fn take(&mut self, line: &Line, data: &EventData<'_>, is_in_period: bool) {
        let Line { time, event_type, .. } = line;
        let recipients = data.recipient_user_guids.as_deref().unwrap_or_default();
        let named = data.user_guid.iter().chain(&data.invited_by_user_guid).chain(recipients);
        for user in named {
            let user = self.users.entry(*user).or_default();
            user.last_activity = Some(*time);
            user.is_active |= is_in_period;
        }
        if is_in_period {
            self.count(*event_type, data, recipients);
        }
        if let Some(user) = data.user_guid.and_then(|user| self.users.get_mut(&user)) {
            user.take(*time, *event_type, data);
        }
    }

    fn count(&mut self, event_type: EventType, data: &EventData<'_>, recipients: &[Uuid]) {
        match event_type {
            EventType::MessageSent => {
                let attachments = data.attachments.as_deref().unwrap_or_default();
                if let Some(sender) = data.user_guid.and_then(|user| self.users.get_mut(&user)) {
                    let bytes = attachments.iter().map(|of| u128::from(of.size_bytes)).sum::<u128>();
                    sender.messages_sent += 1;
                    sender.attachments = sender.attachments.saturating_add_unsigned(attachments.len() as u64);
                    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
                    sender.attachments_size = sender.attachments_size.saturating_add(bytes);
                }
                // Once for a message, however often it names them.
                let mut once = recipients.to_vec();
                once.sort_unstable();
                once.dedup();
                for user in once {
                    self.users.entry(user).or_default().messages_received += 1;
                }
            }
            EventType::UserInvited => {
                if let Some(inviter) = data.invited_by_user_guid {
                    self.users.entry(inviter).or_default().invitations_sent += 1;
                }
            }
            EventType::UserRegistered => {
                let user = data.user_guid.and_then(|user| self.users.get(&user));
                let is_first = |user: &&UserUsage| user.registered_on.is_none();
                if let Some(inviter) = user.filter(is_first).and_then(|user| user.inviter) {
                    self.users.entry(inviter).or_default().invitations_accepted += 1;
                }
            }
            _ => {}
        }
    }
}

impl UserUsage {
    fn take(&mut self, time: Instant, event_type: EventType, data: &EventData<'_>) {
        if event_type.changes_users() {
            self.created_on.get_or_insert(time);
        }
        let set = |of: &mut Option<String>, text: &Option<std::borrow::Cow<'_, str>>| {
            if let Some(text) = text {
                // What was erased is not told.
                *of = Some(text.clone().into_owned()).filter(|text| !Erased::is_mask(text));
            }
        };
        set(&mut self.email_address, &data.email_address);
        set(&mut self.first_name, &data.first_name);
        set(&mut self.last_name, &data.last_name);
        set(&mut self.last_toolbar_version, &data.toolbar_version);
        self.is_alias = data.is_alias.unwrap_or(self.is_alias);
        self.group_type = data.group_type.or(self.group_type);
        match event_type {
            EventType::UserInvited | EventType::UserGroupChanged => {
                // Another group has another name.
                self.group_name = data.group_name.clone().map(std::borrow::Cow::into_owned);
                self.group_guid = data.group_guid;
            }
            EventType::UserRegistered => _ = self.registered_on.get_or_insert(time),
            EventType::UserDisabled => self.is_disabled = true,
            EventType::UserEnabled => self.is_disabled = false,
            EventType::UserLoggedIn => self.last_login = Some(time),
            EventType::MessageSent => self.last_message_sent = Some(time),
            EventType::MessageRetrieved => self.last_message_retrieved = Some(time),
            _ => {}
        }
        if event_type == EventType::UserInvited {
            self.inviter = data.invited_by_user_guid;
            self.invited_by_email_address = None;
            set(&mut self.invited_by_email_address, &data.invited_by_email_address);
        }
    }

    /// The group that counts: a user who exists and was never told one is a guest.
    #[must_use]
    pub fn group(&self) -> Option<GroupType> {
        self.group_type.or(self.created_on.map(|_| GroupType::Guest))
    }
}

/// What concerns users, on its own.
fn owned(data: EventData<'_>) -> EventData<'static> {
    let text = |text: Option<std::borrow::Cow<'_, str>>| text.map(|text| text.into_owned().into());
    EventData {
        user_guid: data.user_guid,
        recipient_user_guids: data.recipient_user_guids,
        attachments: data.attachments,
        group_type: data.group_type,
        group_name: text(data.group_name),
        group_guid: data.group_guid,
        email_address: text(data.email_address),
        first_name: text(data.first_name),
        last_name: text(data.last_name),
        is_alias: data.is_alias,
        invited_by_user_guid: data.invited_by_user_guid,
        invited_by_email_address: text(data.invited_by_email_address),
        toolbar_version: text(data.toolbar_version),
        ..EventData::default()
    }
}
