//! An event as it counts: the envelope's identity and time, and the known members of its `data` (`spec/events.md`, Types).

use std::borrow::Cow;

use uuid::Uuid;

use super::{Instant, Patch};

/// One valid event. Text is borrowed from the input line wherever the line spells it without escapes.
#[derive(Clone, Debug, PartialEq)]
pub struct Event<'a> {
    pub service: Uuid,
    pub time: Instant,
    pub source: Cow<'a, str>,
    pub id: Cow<'a, str>,
    pub event_type: EventType,
    pub data: EventData<'a>,
}

/// Declares a closed set of names: the enum, its names in their published order, and reading them back.
macro_rules! names {
    ($(#[$doc:meta])* $type:ident { $($variant:ident = $name:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $type { $($variant),* }

        impl $type {
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// Of all, in that order.
            pub const NAMES: &'static [&'static str] = &[$($name),*];

            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The value of that name, which is case-sensitive.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}
pub(crate) use names;

names! {
    /// The event types of `spec/events.md`.
    EventType {
        MessageSent = "message.sent",
        MessageRetrieved = "message.retrieved",
        AttachmentPurged = "attachment.purged",
        FeatureUsed = "feature.used",
        UserInvited = "user.invited",
        UserRegistered = "user.registered",
        UserGroupChanged = "user.groupChanged",
        UserDisabled = "user.disabled",
        UserEnabled = "user.enabled",
        UserLoggedIn = "user.loggedIn",
        UserUpdated = "user.updated",
        ServiceUpdated = "service.updated",
        EventVoided = "event.voided",
    }
}

names! {
    /// What `feature.used` may name.
    Feature {
        SecureMessagingGateway = "SecureMessagingGateway",
        SecureMessagingPlus = "SecureMessagingPlus",
        DataLeakPrevention = "DataLeakPrevention",
        SecureLargeFiles = "SecureLargeFiles",
        SecureForms = "SecureForms",
    }
}

names! {
    GroupType { Professional = "Professional", Guest = "Guest" }
}

/// The known members of `data`, of all types side by side, as the event log's columns are. Which of them a type has, and
/// which it must have, [`EventType::members`] tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventData<'a> {
    pub message_guid: Option<Uuid>,
    pub user_guid: Option<Uuid>,
    pub recipient_user_guids: Option<Vec<Uuid>>,
    pub recipient_count: Option<u64>,
    pub attachments: Option<Vec<Attachment>>,
    pub attachment_guid: Option<Uuid>,
    pub size_bytes: Option<u64>,
    pub feature: Option<Feature>,
    pub quantity: Option<u64>,
    pub group_type: Option<GroupType>,
    pub group_name: Option<Cow<'a, str>>,
    pub group_guid: Option<Uuid>,
    pub email_address: Option<Cow<'a, str>>,
    pub first_name: Option<Cow<'a, str>>,
    pub last_name: Option<Cow<'a, str>>,
    pub is_alias: Option<bool>,
    pub invited_by_user_guid: Option<Uuid>,
    pub invited_by_email_address: Option<Cow<'a, str>>,
    pub toolbar_version: Option<Cow<'a, str>>,
    pub voided: Option<VoidTarget<'a>>,
    pub patch: Option<Patch>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attachment {
    pub attachment_guid: Uuid,
    pub size_bytes: u64,
}

/// The event that an `event.voided` takes back, within the void's own service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoidTarget<'a> {
    pub source: Cow<'a, str>,
    pub id: Cow<'a, str>,
    pub time: Instant,
}

/// A member of `data` and the JSON form it must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberRule {
    pub name: &'static str,
    pub member: Member,
    pub required: bool,
}

/// The JSON forms that known members take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberKind {
    Guid,
    GuidList,
    Attachments,
    /// An integer from 0 through 2^53, written without sign, fraction or exponent.
    Count,
    Flag,
    Feature,
    GroupType,
    Text,
    /// Text that names an event's `source` or `id`.
    Identifier,
    Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member {
    MessageGuid,
    UserGuid,
    RecipientUserGuids,
    RecipientCount,
    Attachments,
    AttachmentGuid,
    SizeBytes,
    Feature,
    Quantity,
    GroupType,
    GroupName,
    GroupGuid,
    EmailAddress,
    FirstName,
    LastName,
    IsAlias,
    InvitedByUserGuid,
    InvitedByEmailAddress,
    ToolbarVersion,
    VoidedSource,
    VoidedId,
    VoidedTime,
    /// The whole `data` of a `service.updated`.
    Patch,
}

impl Member {
    #[must_use]
    pub const fn kind(self) -> MemberKind {
        match self {
            Self::MessageGuid | Self::UserGuid | Self::AttachmentGuid | Self::GroupGuid | Self::InvitedByUserGuid => {
                MemberKind::Guid
            }
            Self::RecipientUserGuids => MemberKind::GuidList,
            Self::Attachments => MemberKind::Attachments,
            Self::RecipientCount | Self::SizeBytes | Self::Quantity => MemberKind::Count,
            Self::IsAlias => MemberKind::Flag,
            Self::Feature => MemberKind::Feature,
            Self::GroupType => MemberKind::GroupType,
            Self::GroupName
            | Self::EmailAddress
            | Self::FirstName
            | Self::LastName
            | Self::InvitedByEmailAddress
            | Self::ToolbarVersion
            | Self::Patch => MemberKind::Text,
            Self::VoidedSource | Self::VoidedId => MemberKind::Identifier,
            Self::VoidedTime => MemberKind::Time,
        }
    }
}

/// The value of a known member.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MemberValue<'a> {
    Guid(Uuid),
    Guids(&'a [Uuid]),
    Attachments(&'a [Attachment]),
    Count(u64),
    Flag(bool),
    Feature(Feature),
    GroupType(GroupType),
    Text(&'a str),
    Time(Instant),
}

impl EventData<'_> {
    /// The value of a member, where it is present.
    #[must_use]
    pub fn get(&self, member: Member) -> Option<MemberValue<'_>> {
        use MemberValue as Value;
        match member {
            Member::MessageGuid => self.message_guid.map(Value::Guid),
            Member::UserGuid => self.user_guid.map(Value::Guid),
            Member::AttachmentGuid => self.attachment_guid.map(Value::Guid),
            Member::GroupGuid => self.group_guid.map(Value::Guid),
            Member::InvitedByUserGuid => self.invited_by_user_guid.map(Value::Guid),
            Member::RecipientUserGuids => self.recipient_user_guids.as_deref().map(Value::Guids),
            Member::Attachments => self.attachments.as_deref().map(Value::Attachments),
            Member::RecipientCount => self.recipient_count.map(Value::Count),
            Member::SizeBytes => self.size_bytes.map(Value::Count),
            Member::Quantity => self.quantity.map(Value::Count),
            Member::IsAlias => self.is_alias.map(Value::Flag),
            Member::Feature => self.feature.map(Value::Feature),
            Member::GroupType => self.group_type.map(Value::GroupType),
            Member::GroupName => self.group_name.as_deref().map(Value::Text),
            Member::EmailAddress => self.email_address.as_deref().map(Value::Text),
            Member::FirstName => self.first_name.as_deref().map(Value::Text),
            Member::LastName => self.last_name.as_deref().map(Value::Text),
            Member::InvitedByEmailAddress => self.invited_by_email_address.as_deref().map(Value::Text),
            Member::ToolbarVersion => self.toolbar_version.as_deref().map(Value::Text),
            Member::VoidedSource => self.voided.as_ref().map(|target| Value::Text(&target.source)),
            Member::VoidedId => self.voided.as_ref().map(|target| Value::Text(&target.id)),
            Member::VoidedTime => self.voided.as_ref().map(|target| Value::Time(target.time)),
            Member::Patch => self.patch.as_ref().map(|patch| Value::Text(patch.canonical())),
        }
    }
}

const fn required(name: &'static str, member: Member) -> MemberRule {
    MemberRule { name, member, required: true }
}

const fn optional(name: &'static str, member: Member) -> MemberRule {
    MemberRule { name, member, required: false }
}

const USER: MemberRule = required("userGuid", Member::UserGuid);
const MESSAGE: MemberRule = required("messageGuid", Member::MessageGuid);
const PURGED: &[MemberRule] =
    &[required("attachmentGuid", Member::AttachmentGuid), required("sizeBytes", Member::SizeBytes)];

impl EventType {
    /// The known members of this type's `data`, sorted by name. For `service.updated` one nameless member stands for the
    /// whole: a document of its own, [`Patch`].
    #[must_use]
    pub const fn members(self) -> &'static [MemberRule] {
        match self {
            Self::MessageSent => {
                const {
                    &[
                        optional("attachments", Member::Attachments),
                        MESSAGE,
                        optional("recipientCount", Member::RecipientCount),
                        optional("recipientUserGuids", Member::RecipientUserGuids),
                        USER,
                    ]
                }
            }
            Self::MessageRetrieved => const { &[MESSAGE, USER] },
            Self::AttachmentPurged => PURGED,
            Self::FeatureUsed => {
                const {
                    &[
                        required("feature", Member::Feature),
                        optional("quantity", Member::Quantity),
                        optional("userGuid", Member::UserGuid),
                    ]
                }
            }
            Self::UserInvited => {
                const {
                    &[
                        optional("emailAddress", Member::EmailAddress),
                        optional("firstName", Member::FirstName),
                        optional("groupGuid", Member::GroupGuid),
                        optional("groupName", Member::GroupName),
                        required("groupType", Member::GroupType),
                        optional("invitedByEmailAddress", Member::InvitedByEmailAddress),
                        optional("invitedByUserGuid", Member::InvitedByUserGuid),
                        optional("lastName", Member::LastName),
                        USER,
                    ]
                }
            }
            Self::UserRegistered => const { &[optional("groupType", Member::GroupType), USER] },
            Self::UserGroupChanged => {
                const {
                    &[
                        optional("groupGuid", Member::GroupGuid),
                        optional("groupName", Member::GroupName),
                        required("groupType", Member::GroupType),
                        USER,
                    ]
                }
            }
            Self::UserDisabled | Self::UserEnabled => const { &[USER] },
            Self::UserLoggedIn => const { &[optional("toolbarVersion", Member::ToolbarVersion), USER] },
            Self::UserUpdated => {
                const {
                    &[
                        optional("emailAddress", Member::EmailAddress),
                        optional("firstName", Member::FirstName),
                        optional("isAlias", Member::IsAlias),
                        optional("lastName", Member::LastName),
                        USER,
                    ]
                }
            }
            Self::ServiceUpdated => const { &[required("", Member::Patch)] },
            Self::EventVoided => {
                const {
                    &[
                        required("id", Member::VoidedId),
                        required("source", Member::VoidedSource),
                        required("time", Member::VoidedTime),
                    ]
                }
            }
        }
    }

    /// Whether an event of this type that counts is one of a row's `event_count` (`spec/usage.md`, Columns).
    #[must_use]
    pub const fn creates_rows(self) -> bool {
        !matches!(self, Self::ServiceUpdated | Self::EventVoided)
    }

    /// Whether an event of this type can change the class that a user is in (`spec/usage.md`: what makes a user exist).
    #[must_use]
    pub const fn changes_users(self) -> bool {
        matches!(
            self,
            Self::UserInvited
                | Self::UserRegistered
                | Self::UserGroupChanged
                | Self::UserDisabled
                | Self::UserEnabled
                | Self::UserUpdated
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_sorted_so_that_the_canonical_form_can_be_written_in_order() {
        for event_type in EventType::ALL {
            assert!(event_type.members().is_sorted_by_key(|rule| rule.name), "{}", event_type.name());
        }
    }
}
