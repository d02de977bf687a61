//! `UserUsage`, and the responses that it comes in (`spec/api.md`, section 4).

use uuid::Uuid;

use super::document::{Choice, Kind, Member, Object, Type, Value, WITH_RESPONSE_STATUS};
use super::page::{self, Page};
use super::service_usage::PERIOD_TYPE;
use super::value;
use crate::audit::user_usage::UserUsage;
use crate::model::{Day, GroupType, Instant, PeriodType};

pub(in crate::api) static STATUS: Choice = Choice { name: "ServiceUserStatusEnum", values: &["Active", "Disabled"] };
pub(in crate::api) static GROUP: Choice = Choice { name: "ServiceUserGroupEnum", values: GroupType::NAMES };
static USER_USAGE: Type = Type {
    name: "UserUsage",
    members: &[
        Member::always("UserGuid", Kind::Guid),
        Member::if_set("EmailAddress", Kind::Text),
        Member::always("IsAlias", Kind::Flag),
        Member::if_set("FirstName", Kind::Text),
        Member::if_set("LastName", Kind::Text),
        Member::if_set("Status", Kind::Choice(&STATUS)),
        Member::if_set("CreatedOn", Kind::DateTime),
        Member::if_set("RegisteredOn", Kind::DateTime),
        Member::if_set("LastLogin", Kind::DateTime),
        Member::if_set("GroupName", Kind::Text),
        Member::if_set("GroupType", Kind::Choice(&GROUP)),
        Member::if_set("GroupGuid", Kind::Guid),
        Member::always("TotalMessagesSent", Kind::Integer),
        Member::always("TotalMessagesReceived", Kind::Integer),
        Member::always("TotalAttachmentsCount", Kind::Integer),
        Member::always("TotalAttachmentsSize", Kind::Integer),
        Member::always("TotalInvitationsSent", Kind::Integer),
        Member::always("TotalInvitationsAccepted", Kind::Integer),
        Member::if_set("LastToolbarVersion", Kind::Text),
        Member::if_set("InvitedByEmailAddress", Kind::Text),
        Member::if_set("LastMsgSent", Kind::DateTime),
        Member::if_set("LastMsgRetrieved", Kind::DateTime),
        Member::if_set("LastActivity", Kind::DateTime),
    ],
    base: None,
};
const MEMBERS: [Member; 8] = {
    let [size, pages, total, number, results] = page::members(&USER_USAGE);
    [
        size,
        pages,
        total,
        number,
        results,
        Member::always("PeriodType", Kind::Choice(&PERIOD_TYPE)),
        Member::always("Period", Kind::DateTime),
        Member::always("ServiceGuid", Kind::Guid),
    ]
};
pub(in crate::api) static PAGED_RESPONSE: Type =
    Type { name: "GetServiceUsersUsagePagedResponse", members: &MEMBERS, base: Some(&WITH_RESPONSE_STATUS) };
pub(in crate::api) static RESPONSE: Type = Type {
    name: "GetServiceUserUsageResponse",
    members: &[
        Member::always("ServiceGuid", Kind::Guid),
        Member::always("PeriodType", Kind::Choice(&PERIOD_TYPE)),
        Member::always("Period", Kind::DateTime),
        Member::always("Usage", Kind::Object(&USER_USAGE)),
    ],
    base: Some(&WITH_RESPONSE_STATUS),
};

/// What all numbers of a response are about.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct About {
    pub service: Uuid,
    pub period_type: PeriodType,
    /// The first day of the period.
    pub period: Day,
}

/// `GetServiceUsersUsagePagedResponse`.
pub(in crate::api) fn paged_response(page: Page, about: About, users: &[(Uuid, UserUsage)]) -> Object<'_> {
    let results = users.iter().map(|(guid, usage)| user_usage(*guid, usage)).collect();
    let about = [about.period_type.name().into(), value::midnight(about.period).into(), about.service.into()];
    let values = page.values(&USER_USAGE, results).into_iter().chain(about).collect();
    Object::new(&PAGED_RESPONSE, values).with_response_status()
}

/// `GetServiceUserUsageResponse`.
pub(in crate::api) fn response(about: About, user: Uuid, usage: &UserUsage) -> Object<'_> {
    let period = value::midnight(about.period);
    let values =
        vec![about.service.into(), about.period_type.name().into(), period.into(), user_usage(user, usage).into()];
    Object::new(&RESPONSE, values).with_response_status()
}

fn user_usage(guid: Uuid, user: &UserUsage) -> Object<'_> {
    let time = |time: Option<Instant>| Value::of(time.map(Instant::to_utc));
    let status = if user.is_disabled { "Disabled" } else { "Active" };
    let values = vec![
        guid.into(),
        Value::of(user.email_address.as_ref()),
        Value::Flag(user.is_alias),
        Value::of(user.first_name.as_ref()),
        Value::of(user.last_name.as_ref()),
        Value::of(user.created_on.map(|_| status)),
        time(user.created_on),
        time(user.registered_on),
        time(user.last_login),
        Value::of(user.group_name.as_ref()),
        Value::of(user.group().map(GroupType::name)),
        Value::of(user.group_guid),
        user.messages_sent.into(),
        user.messages_received.into(),
        user.attachments.into(),
        user.attachments_size.into(),
        user.invitations_sent.into(),
        user.invitations_accepted.into(),
        Value::of(user.last_toolbar_version.as_ref()),
        Value::of(user.invited_by_email_address.as_ref()),
        time(user.last_message_sent),
        time(user.last_message_retrieved),
        time(user.last_activity),
    ];
    Object::new(&USER_USAGE, values)
}
