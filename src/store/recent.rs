//! What was asked for lately, for as long as nobody has committed anything since. So what is answered is always what the
//! database holds, also right after another process has written there.
//!
//! Only SQLite tells without being asked whether anybody has; on PostgreSQL every question goes to the server.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use super::Result;
use super::db::{Pools, Version};

/// Answers by what was asked.
pub(super) struct Recent<K, V> {
    /// Beyond so many it begins anew, to bound memory.
    most: usize,
    kept: Mutex<Kept<K, V>>,
}

struct Kept<K, V> {
    /// The version of the database that they are from.
    version: Option<Version>,
    answers: HashMap<K, V>,
}

impl<K: Eq + Hash, V: Clone> Recent<K, V> {
    pub fn new(most: usize) -> Self {
        Self { most, kept: Mutex::new(Kept { version: None, answers: HashMap::default() }) }
    }

    /// The answer that is kept, or else what `read` finds in the database.
    pub async fn answer(&self, db: &Pools, question: K, read: impl AsyncFnOnce() -> Result<V>) -> Result<V> {
        let Some(version) = db.version() else { return read().await };
        if let Some(answer) = self.find(version, &question) {
            return Ok(answer);
        }
        let answer = read().await?;
        // Where somebody has committed meanwhile, it may be from before or from after that.
        if db.version() == Some(version) {
            self.keep(version, question, answer.clone());
        }
        Ok(answer)
    }

    fn find(&self, version: Version, question: &K) -> Option<V> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.version == Some(version) { kept.answers.get(question).cloned() } else { None }
    }

    fn keep(&self, version: Version, question: K, answer: V) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.version != Some(version) || kept.answers.len() >= self.most {
            kept.answers.clear();
            kept.version = Some(version);
        }
        kept.answers.insert(question, answer);
    }
}

impl<K, V> fmt::Debug for Recent<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recent").field("most", &self.most).finish_non_exhaustive()
    }
}
