//! Whether a process can answer for its installation.

use super::{Observer, PATIENCE};
use crate::jobs::Reading;
use crate::store::{Store, StoreError};

impl Observer {
    /// Why it is not ready; none where it is. What is told here is told to anybody: no names, no addresses.
    pub async fn unready(&self, of: Option<&Reading>) -> Option<&'static str> {
        let Some(reading) = of else {
            return Some("the store is not open yet; the log says what is waited for");
        };
        let store = reading.store.clone();
        match self.ready.answer(PATIENCE, || has_our_schema(store)).await.as_deref() {
            Some(true) => None,
            Some(false) => {
                Some("the store has another version's schema; restart this process with the version that fits it")
            }
            None => Some("the store does not answer"),
        }
    }
}

async fn has_our_schema(store: Store) -> Option<bool> {
    match store.has_our_schema().await {
        Ok(has) => Some(has),
        Err(error @ StoreError::Database(_)) if !error.is_out_of_reach() => {
            tracing::error!(%error, "the store can't be asked which schema it has");
            None
        }
        Err(error) => {
            tracing::debug!(%error, "the store does not answer");
            None
        }
    }
}
