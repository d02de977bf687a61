//! Looking for users who are to be erased, and for the e-mail addresses that they are known by.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use uuid::Uuid;

use super::super::{Installation, Run};
use super::aside::LETTERS_TOGETHER;
use crate::event_log::{EventLogError, SegmentReader, UnknownSegment};
use crate::model::{Erased, Event, Masks};

/// What was found of these users.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub users: HashSet<Uuid>,
    pub emails: BTreeSet<String>,
}

impl Found {
    /// Looks through segments, files that were set aside, and dead letters. What can't be read is told of when it should be
    /// masked.
    pub async fn in_installation(installation: &Installation, run: &Run, users: &[Uuid]) -> anyhow::Result<Self> {
        let wanted: Arc<HashSet<Uuid>> = Arc::new(users.iter().copied().collect());
        let mut found = Self::default();
        let reader = Arc::new(SegmentReader::new(installation.log.clone()));
        for segment in installation.store.catalog().await? {
            run.check()?;
            let (reader, wanted) = (reader.clone(), wanted.clone());
            let look = move || {
                let mut found = Self::default();
                reader.open(&segment)?.read_lines(|line| {
                    found.take(&line.event, &wanted);
                    Ok::<_, EventLogError>(())
                })?;
                Ok::<_, EventLogError>(found)
            };
            found.add(installation.on_threads(look).await?);
        }
        for (path, _) in installation.log.files_aside()? {
            run.check()?;
            let wanted = wanted.clone();
            let look = move || {
                let mut found = Self::default();
                UnknownSegment::open(&path)?.read(|line| {
                    found.take(&line.event, &wanted);
                    Ok(())
                })?;
                Ok::<_, EventLogError>(found)
            };
            found.add(installation.on_threads(look).await?);
        }
        found.in_dead_letters(installation, users).await?;
        Ok(found)
    }

    async fn in_dead_letters(&mut self, installation: &Installation, users: &[Uuid]) -> anyhow::Result<()> {
        let each = |user: &Uuid| (*user, Erased::new(Masks::default(), HashSet::from([*user]), HashSet::new()));
        let users: Vec<(Uuid, Erased)> = users.iter().map(each).collect();
        let mut after = 0;
        loop {
            let letters = installation.store.dead_letters(None, after, LETTERS_TOGETHER).await?;
            let Some(last) = letters.last() else { return Ok(()) };
            after = last.id;
            for letter in &letters {
                let named = users.iter().filter(|(_, alone)| alone.are_named_in(&letter.letter.content));
                self.users.extend(named.map(|(user, _)| *user));
            }
        }
    }

    fn add(&mut self, found: Result<Self, EventLogError>) {
        if let Ok(found) = found {
            self.users.extend(found.users);
            self.emails.extend(found.emails);
        }
    }

    fn take(&mut self, event: &Event<'_>, wanted: &HashSet<Uuid>) {
        let data = &event.data;
        let recipients = data.recipient_user_guids.iter().flatten();
        self.users.extend(recipients.filter(|user| wanted.contains(*user)));
        for (user, address) in
            [(data.user_guid, &data.email_address), (data.invited_by_user_guid, &data.invited_by_email_address)]
        {
            if let Some(user) = user.filter(|user| wanted.contains(user)) {
                self.users.insert(user);
                let address = address.iter().filter(|address| !(address.is_empty() || Erased::is_mask(address)));
                self.emails.extend(address.map(|address| address.clone().into_owned()));
            }
        }
    }
}
