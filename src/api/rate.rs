//! How many requests a key may make, and how a client is told (RateLimit header fields for HTTP, IETF draft 10).

use std::fmt;
use std::num::NonZeroU32;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};

use super::reply;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Counts requests by key. Only keys that are valid get here, so that there are no more of them than were made.
pub(super) struct Rate {
    limiter: RateLimiter<String, DefaultKeyedStateStore<String>, DefaultClock, StateInformationMiddleware>,
    clock: DefaultClock,
    policy: HeaderValue,
}

/// A request that was counted.
#[derive(Debug)]
pub(super) struct Counted {
    policy: HeaderValue,
    /// Requests that may follow at once.
    left: u32,
}

impl Rate {
    pub fn new(per_second: NonZeroU32, at_once: NonZeroU32) -> Self {
        let quota = Quota::per_second(per_second).allow_burst(at_once);
        let window = at_once.get().div_ceil(per_second.get());
        let policy = format!("\"key\";q={at_once};w={window}");
        Self {
            limiter: RateLimiter::keyed(quota).with_middleware(),
            clock: DefaultClock::default(),
            policy: HeaderValue::from_str(&policy).expect("digits and letters are fit for a header"),
        }
    }

    /// Counts a request of a key.
    ///
    /// # Errors
    /// When it is one too many: after so many seconds it will not be.
    pub fn count(&self, key: &String) -> (Counted, Result<(), u64>) {
        let counted = |left| Counted { policy: self.policy.clone(), left };
        match self.limiter.check_key(key) {
            Ok(state) => (counted(state.remaining_burst_capacity()), Ok(())),
            Err(until) => {
                let wait = until.wait_time_from(self.clock.now());
                (counted(0), Err(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)))
            }
        }
    }
}

impl Counted {
    pub fn tell(self, headers: &mut HeaderMap) {
        reply::set(headers, RATE_LIMIT, &format!("\"key\";r={}", self.left));
        headers.insert(RATE_LIMIT_POLICY, self.policy);
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rate").field("policy", &self.policy).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_its_own_count_and_is_told_when_to_come_back() {
        let number = |number| NonZeroU32::new(number).unwrap();
        let rate = Rate::new(number(1), number(3));
        let (one, other) = ("a".to_owned(), "b".to_owned());
        let left: Vec<u32> = (0..3).map(|_| rate.count(&one).0.left).collect();
        assert_eq!(left, [2, 1, 0]);
        assert_eq!(rate.count(&one).1, Err(1));
        assert_eq!(rate.count(&other).1, Ok(()));
        let mut headers = HeaderMap::new();
        rate.count(&one).0.tell(&mut headers);
        assert_eq!(
            (&headers["ratelimit"], &headers["ratelimit-policy"]),
            (&"\"key\";r=0".parse().unwrap(), &"\"key\";q=3;w=3".parse().unwrap())
        );
    }
}
