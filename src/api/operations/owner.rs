//! Whose services a report is about: a reseller's or a partner's.

use uuid::Uuid;

use crate::api::auth::Principal;
use crate::api::error::ApiError;
use crate::store::{Role, ServiceFilter};
use crate::usage::Reports;

#[derive(Clone, Copy, Debug)]
pub(super) enum Owner {
    Partner(Uuid),
    Reseller(Uuid),
}

impl Owner {
    /// The services of theirs that the caller may see. A reseller or partner is there while a service names it, and a reseller is
    /// in a partner's scope while one of those names the partner; a reseller sees no partner, and who may see one service alone
    /// sees neither.
    ///
    /// # Errors
    /// When it is not there, or outside the caller's scope.
    pub async fn services_in_sight(self, reports: &Reports, principal: &Principal) -> Result<ServiceFilter, ApiError> {
        let (kind, guid, all) = match self {
            Self::Partner(guid) => ("partner", guid, ServiceFilter { partner: Some(guid), ..ServiceFilter::default() }),
            Self::Reseller(guid) => {
                ("reseller", guid, ServiceFilter { reseller: Some(guid), ..ServiceFilter::default() })
            }
        };
        let in_sight = match (self, principal.role) {
            (_, Role::Service) | (Self::Partner(_), Role::Reseller) => None,
            _ => principal.narrow(all.clone()),
        };
        match in_sight {
            Some(in_sight) if reports.has_services(&in_sight).await? => Ok(in_sight),
            _ if reports.has_services(&all).await? => Err(ApiError::OutOfScope(kind, guid)),
            _ => Err(ApiError::NoSuch(kind, guid)),
        }
    }
}
