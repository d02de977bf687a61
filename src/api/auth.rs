//! Who asks: API keys, and what their roles may see (`spec/api.md`, section 6, Who may see what).

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, COOKIE};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use uuid::Uuid;

use super::Api;
use super::error::ApiError;
use crate::config::ApiAuth;
use crate::model::Service;
use crate::store::{ApiKey, Role, ServiceFilter};

/// Marks a key as one of ours, for whoever finds one where it should not be.
const KEY_PREFIX: &str = "ur_";
const KEY_BYTES: usize = 32;

/// Makes a key: the text, which is shown once, and the hash, which is kept.
///
/// # Panics
/// When the operating system gives no random bytes: a key must not be made then.
#[must_use]
pub fn new_key() -> (String, [u8; 32]) {
    let mut random = [0_u8; KEY_BYTES];
    getrandom::fill(&mut random).expect("the operating system gives random bytes");
    let text = format!("{KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
    let hash = hash(&text);
    (text, hash)
}

/// A fast hash is enough: what it hides are 256 random bits, not a password. For the same reason, the look-up by hash gives
/// no time to measure.
fn hash(key: &str) -> [u8; 32] {
    *blake3::hash(key.as_bytes()).as_bytes()
}

/// Whoever sent a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Principal {
    pub role: Role,
    pub scope: Option<Uuid>,
    /// The id of the key, for the log; none where keys are off.
    pub key: Option<String>,
}

impl Principal {
    /// # Errors
    /// When the service is outside this caller's scope.
    pub fn must_see(&self, service: &Service) -> Result<(), ApiError> {
        if self.sees(service) { Ok(()) } else { Err(ApiError::OutOfScope("service", service.service_guid)) }
    }

    /// # Errors
    /// When the service is outside this caller's scope, or its usage is not reported.
    pub fn must_see_usage(&self, service: &Service) -> Result<(), ApiError> {
        self.must_see(service)?;
        // Only now: the status is for those alone who may see the service.
        let status = service.status();
        if status.hides_usage() { Err(ApiError::UsageHidden(status)) } else { Ok(()) }
    }

    /// What is left of a filter for this caller; none where that can be no service.
    pub fn narrow(&self, mut filter: ServiceFilter) -> Option<ServiceFilter> {
        let member = match self.role {
            Role::SuperUser => return Some(filter),
            Role::Partner => &mut filter.partner,
            Role::Reseller => &mut filter.reseller,
            Role::Service => &mut filter.service,
        };
        let asked = member.replace(self.scope?);
        asked.is_none_or(|asked| Some(asked) == self.scope).then_some(filter)
    }

    fn sees(&self, service: &Service) -> bool {
        // A reseller's services name its partner too, so that a partner's scope needs no look at resellers.
        let of_service = match self.role {
            Role::SuperUser => return true,
            Role::Partner => service.partner_guid,
            Role::Reseller => service.reseller_guid,
            Role::Service => Some(service.service_guid),
        };
        // A key without its scope sees nothing, least of all the services that name nobody.
        self.scope.is_some() && self.scope == of_service
    }
}

impl From<&ApiKey> for Principal {
    fn from(key: &ApiKey) -> Self {
        Self { role: key.role, scope: key.scope, key: Some(key.id.clone()) }
    }
}

/// The sender of a request with these headers.
///
/// # Errors
/// When it has no key that is valid now, or the store fails.
pub(super) async fn principal(api: &Api, headers: &HeaderMap) -> Result<Principal, ApiError> {
    if api.auth == ApiAuth::Off {
        return Ok(Principal { role: Role::SuperUser, scope: None, key: None });
    }
    let text = key_in(headers).ok_or(ApiError::NoKey)?;
    // What can't be a key costs no look-up.
    if !is_like_ours(&text) {
        return Err(ApiError::BadKey);
    }
    let found = api.opened()?.store.key_by_hash(hash(&text)).await?;
    let valid = found.as_deref().filter(|key| key.is_valid(api.clock.now()));
    valid.map(Principal::from).ok_or(ApiError::BadKey)
}

/// Whether a text has the form of the keys that [`new_key`] makes.
fn is_like_ours(text: &str) -> bool {
    let random = text.strip_prefix(KEY_PREFIX);
    random.is_some_and(|random| {
        random.len() == (KEY_BYTES * 8).div_ceil(6)
            && random.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    })
}

/// The key in the first place that has one.
fn key_in(headers: &HeaderMap) -> Option<String> {
    let text =
        |name: &str| headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok()).collect::<Vec<&str>>();
    let authorization = text(AUTHORIZATION.as_str()).into_iter().filter_map(key_in_authorization);
    let session = text("x-ss-id").into_iter().map(str::to_owned);
    let cookies = text(COOKIE.as_str()).into_iter().filter_map(key_in_cookie);
    authorization.chain(session).chain(cookies).find(|key| !key.is_empty())
}

/// A bearer token, or the password of Basic; its user name does not matter.
fn key_in_authorization(value: &str) -> Option<String> {
    let (scheme, credentials) = value.trim().split_once(' ')?;
    let credentials = credentials.trim();
    if scheme.eq_ignore_ascii_case("Bearer") {
        return Some(credentials.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(credentials).ok()?).ok()?;
    decoded.split_once(':').map(|(_, password)| password.to_owned())
}

fn key_in_cookie(value: &str) -> Option<String> {
    let pairs = value.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(name, _)| *name == "ss-id").map(|(_, value)| value.trim_matches('"').to_owned()).next()
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn found(headers: &[(&'static str, &str)]) -> Option<String> {
        let header = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        };
        key_in(&headers.iter().map(header).collect())
    }

    #[test]
    fn keys_are_256_random_bits_and_only_their_hash_is_kept() {
        let ((one, one_hash), (other, _)) = (new_key(), new_key());
        assert_ne!(one, other);
        assert_eq!(URL_SAFE_NO_PAD.decode(one.strip_prefix("ur_").unwrap()).unwrap().len(), 32);
        assert_eq!(hash(&one), one_hash);
        assert!(is_like_ours(&one) && is_like_ours(&other));
        assert!(!is_like_ours("ur_") && !is_like_ours(&one[1..]) && !is_like_ours(&format!("{one}A")));
    }

    #[test]
    fn a_key_is_found_wherever_a_client_may_put_it() {
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        for (name, value) in [
            ("authorization", "Bearer k".to_owned()),
            ("authorization", " bearer   k ".to_owned()),
            ("authorization", basic(":k")),
            ("authorization", basic("anybody:k")),
            ("x-ss-id", "k".to_owned()),
            ("cookie", "ss-id=k".to_owned()),
            ("cookie", "ss-opt=perm; ss-id=k; ss-pid=x".to_owned()),
            ("cookie", "a; ss-id=\"k\"".to_owned()),
        ] {
            assert_eq!(found(&[(name, &value)]).as_deref(), Some("k"), "{name}: {value}");
        }
        assert_eq!(found(&[("authorization", &basic("u:k:k"))]).as_deref(), Some("k:k"));
        assert_eq!(
            found(&[("authorization", "Negotiate x"), ("x-ss-id", ""), ("cookie", "ss-id=k")]).as_deref(),
            Some("k")
        );
        assert_eq!(
            found(&[("cookie", "ss-id=b"), ("x-ss-id", "a"), ("authorization", "Bearer k")]).as_deref(),
            Some("k")
        );
    }

    #[test]
    fn everything_else_is_no_key() {
        for (name, value) in [
            ("authorization", ""),
            ("authorization", "Bearer"),
            ("authorization", "Bearer "),
            ("authorization", "k"),
            ("authorization", "Basic !!!"),
            ("authorization", "Basic Og=="),
            ("authorization", "Basic aw=="),
            ("authorization", "Basic /zo="),
            ("authorization", "Digest k"),
            ("authorization", "Bearer é"),
            ("cookie", "ss-id="),
            ("cookie", "SS-ID=k"),
            ("cookie", "ss-id"),
            ("cookie", ";;=;"),
            ("x-ss-pid", "k"),
        ] {
            assert_eq!(found(&[(name, value)]), None, "{name}: {value}");
        }
    }

    #[test]
    fn a_role_sees_what_is_in_its_scope_and_nothing_without_one() {
        let guid = Uuid::from_u128;
        let service = Service {
            service_guid: guid(1),
            reseller_guid: Some(guid(2)),
            partner_guid: Some(guid(3)),
            ..Service::default()
        };
        let orphan = Service { service_guid: guid(9), ..Service::default() };
        let sees = |role, scope, service| Principal { role, scope, key: None }.sees(service);
        for (role, scope) in [(Role::Service, 1), (Role::Reseller, 2), (Role::Partner, 3)] {
            for other in 1..=3 {
                assert_eq!(sees(role, Some(guid(other)), &service), other == scope, "{role:?} {other}");
            }
            assert!(
                !sees(role, Some(guid(scope)), &orphan) && !sees(role, None, &service) && !sees(role, None, &orphan)
            );
        }
        assert!(sees(Role::SuperUser, None, &service) && sees(Role::SuperUser, None, &orphan));
    }
}
