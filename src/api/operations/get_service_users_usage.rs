//! GetServiceUsersUsage: what each user of a service did in a period, by page, of those whom any event of the period names.

use uuid::Uuid;

use super::users_of::{Found, users_of};
use crate::api::Call;
use crate::api::about::{self, About, Gives, Kind, Param};
use crate::api::error::ApiError;
use crate::api::reply::Reply;
use crate::api::wire::page::Page;
use crate::api::wire::user_usage;
use crate::audit::user_usage::UserUsage;
use crate::model::GroupType;
use crate::store::Listed;

pub(in crate::api) static ABOUT: About = About {
    summary: "What each user of a service did in a period, by page, of those whom any event of the period names.",
    takes: &[
        Param::path("ServiceGuid", "The service."),
        about::PAGE,
        about::PAGE_SIZE,
        about::PERIOD_TYPE,
        about::PERIOD,
        Param::optional("UserStatus", Kind::Choice(&user_usage::STATUS), "Only users of this status."),
        Param::optional("UserGroupType", Kind::Choice(&user_usage::GROUP), "Only users in a group of this type."),
        Param::optional("UserGroupGuid", Kind::Guid, "Only users of this group."),
    ],
    gives: Gives::Report(&user_usage::PAGED_RESPONSE),
};

/// Those for whom all of it holds.
struct Filter {
    is_disabled: Option<bool>,
    group_type: Option<GroupType>,
    group_guid: Option<Uuid>,
}

pub(in crate::api) async fn handle(call: Call) -> Result<Reply, ApiError> {
    let Call { api, principal, mut params, format } = call;
    let service = params.guid("ServiceGuid");
    let page = params.page();
    let (period_type, period) = (params.period_type("PeriodType"), params.day("Period", api.zone));
    let filter = Filter {
        is_disabled: params.choice(
            "UserStatus",
            &[false, true],
            |disabled| if disabled { "Disabled" } else { "Active" },
        ),
        group_type: params.choice("UserGroupType", GroupType::ALL, GroupType::name),
        group_guid: params.guid("UserGroupGuid"),
    };
    params.refuse_as_of();
    params.finish()?;

    let Found { about, standing, users } = users_of(&api, &principal, service, period_type, period).await?;
    let mut users: Vec<(Uuid, UserUsage)> =
        users.into_iter().filter(|(_, user)| user.is_active && filter.wants(user)).collect();
    // Who was never created comes last.
    users.sort_by_key(|(guid, user)| (user.created_on.is_none(), user.created_on, *guid));
    let Listed { items: of_page, total } = Listed::of(users, page.window());
    let response = user_usage::paged_response(Page { total, ..page }, about, &of_page);
    Ok(Reply::new(&format, &response).with_standing(standing))
}

impl Filter {
    fn wants(&self, user: &UserUsage) -> bool {
        self.is_disabled.is_none_or(|disabled| user.created_on.is_some() && user.is_disabled == disabled)
            && self.group_type.is_none_or(|group| user.group() == Some(group))
            && self.group_guid.is_none_or(|group| user.group_guid == Some(group))
    }
}
