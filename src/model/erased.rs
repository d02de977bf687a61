//! Users whose personal data was erased: what stands in its place (`docs/erasure.md`).

use std::borrow::Cow;
use std::collections::HashSet;

use uuid::Uuid;

use super::{Event, EventData};

/// What stands in the place of a text begins so, and 32 hex digits follow.
const MASK: &str = "erased:";
const DIGITS: usize = 32;

/// The users who were erased, and the key that masks are made with. A mask is a keyed hash: what was the same text is the same
/// mask, also when it comes again, so copies stay copies and conflicts stay conflicts.
#[derive(Clone, Debug, Default)]
pub struct Erased {
    key: [u8; 32],
    users: HashSet<Uuid>,
    /// Keyed hashes of their e-mail addresses.
    emails: HashSet<[u8; 32]>,
}

impl Erased {
    #[must_use]
    pub fn new(key: [u8; 32], users: HashSet<Uuid>, emails: HashSet<[u8; 32]>) -> Self {
        Self { key, users, emails }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    #[must_use]
    pub fn has(&self, user: Uuid) -> bool {
        self.users.contains(&user)
    }

    /// What an e-mail address is known by, however it is spelled.
    #[must_use]
    pub fn email(&self, address: &str) -> [u8; 32] {
        self.hash(&["e-mail", &address.to_lowercase()])
    }

    /// The event as it is kept; none where it holds nothing personal of these users, or is masked already.
    #[must_use]
    pub fn masked<'a>(&self, event: &Event<'a>) -> Option<Event<'a>> {
        if self.is_empty() || !has_personal_members(&event.data) {
            return None;
        }
        let user = event.data.user_guid.filter(|user| self.has(*user));
        let by_guid = event.data.invited_by_user_guid.is_some_and(|inviter| self.has(inviter));
        let has_email = || {
            [&event.data.email_address, &event.data.invited_by_email_address].map(|text| self.knows(text.as_deref()))
        };
        if user.is_none() && !by_guid && has_email() == [false; 2] {
            return None;
        }
        let mut masked = event.clone();
        let data = &mut masked.data;
        let mut is_masked = self.mask_email(&mut data.email_address, user.is_some());
        is_masked |= self.mask_email(&mut data.invited_by_email_address, by_guid);
        if let Some(user) = user {
            let user = user.simple().to_string();
            is_masked |= self.mask(&mut data.first_name, &["firstName", &user]);
            is_masked |= self.mask(&mut data.last_name, &["lastName", &user]);
        }
        is_masked.then_some(masked)
    }

    fn mask_email(&self, text: &mut Option<Cow<'_, str>>, is_theirs: bool) -> bool {
        (is_theirs || self.knows(text.as_deref())) && self.mask(text, &["e-mail"])
    }

    fn knows(&self, address: Option<&str>) -> bool {
        address.is_some_and(|address| self.emails.contains(&self.email(address)))
    }

    fn mask(&self, text: &mut Option<Cow<'_, str>>, of: &[&str]) -> bool {
        let Some(plain) = text.as_ref().filter(|text| !text.is_empty() && !Self::is_mask(text)) else { return false };
        let hash = blake3::Hash::from(self.hash(&[of, &["mask", plain]].concat()));
        *text = Some(Cow::Owned([MASK, &hash.to_hex()[..DIGITS]].concat()));
        true
    }

    fn hash(&self, parts: &[&str]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        hasher.finalize().into()
    }

    /// Whether a text of an event stands in the place of an erased one.
    #[must_use]
    pub fn is_mask(text: &str) -> bool {
        let digits = text.strip_prefix(MASK).filter(|digits| digits.len() == DIGITS);
        digits.is_some_and(|digits| digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
    }

    /// Whether a text of whatever form names one of these users, by GUID or e-mail address.
    #[must_use]
    pub fn are_named_in(&self, line: &[u8]) -> bool {
        if self.is_empty() {
            return false;
        }
        let text = unescaped(line);
        let is_guid_digit = |c: char| c.is_ascii_hexdigit() || c == '-';
        let has_guid = |run: &str| {
            let digits: Vec<char> = run.chars().filter(|c| *c != '-').collect();
            let guid = |digits: &[char]| u128::from_str_radix(&digits.iter().collect::<String>(), 16).ok();
            digits.windows(DIGITS).any(|digits| guid(digits).is_some_and(|guid| self.has(Uuid::from_u128(guid))))
        };
        let is_around_email = |c: char| c.is_whitespace() || c.is_control() || "\"'<>()[]{},;:\\".contains(c);
        let is_email = |word: &str| word.contains('@') && self.emails.contains(&self.email(word.trim_end_matches('.')));
        text.split(|c| !is_guid_digit(c)).any(has_guid) || text.split(is_around_email).any(is_email)
    }
}

fn has_personal_members(data: &EventData<'_>) -> bool {
    let texts = [&data.email_address, &data.first_name, &data.last_name, &data.invited_by_email_address];
    texts.iter().any(|text| text.is_some())
}

/// A line as text, with those JSON escapes resolved that stand for one character.
fn unescaped(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let mut parts = text.split("\\u");
    let mut resolved = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        match code.and_then(char::from_u32) {
            Some(character) => {
                resolved.push(character);
                resolved.push_str(&part[4..]);
            }
            None => resolved.extend(["\\u", part]),
        }
    }
    resolved.replace("\\/", "/")
}

#[cfg(test)]
mod tests {
    use super::super::{EventType, Instant};
    use super::*;

    const ANNA: Uuid = Uuid::from_u128(0xa11a_0000_0000_0000_0000_0000_0000_0001);

    fn erased() -> Erased {
        let bare = Erased::new([7; 32], HashSet::from([ANNA]), HashSet::new());
        let emails = HashSet::from([bare.email("Anna@Example.org")]);
        Erased { emails, ..bare }
    }

    fn event(data: EventData<'static>) -> Event<'static> {
        let (service, time, event_type) = (Uuid::nil(), Instant::from_nanos(0), EventType::UserInvited);
        Event { service, time, source: "/s".into(), id: "1".into(), event_type, data }
    }

    #[test]
    fn what_is_personal_is_masked_the_same_way_each_time_and_once() {
        let data = EventData {
            user_guid: Some(ANNA),
            email_address: Some("anna@example.org".into()),
            first_name: Some("Anna".into()),
            last_name: Some("".into()),
            group_name: Some("Anna's".into()),
            invited_by_user_guid: Some(Uuid::from_u128(2)),
            invited_by_email_address: Some("bob@example.org".into()),
            ..EventData::default()
        };
        let masked = erased().masked(&event(data.clone())).unwrap();
        let text = |text: &Option<Cow<'_, str>>| text.clone().unwrap().into_owned();
        assert!(Erased::is_mask(&text(&masked.data.email_address)) && Erased::is_mask(&text(&masked.data.first_name)));
        assert_eq!(masked.data.last_name.as_deref(), Some(""));
        assert_eq!(masked.data.group_name, data.group_name);
        assert_eq!(masked.data.invited_by_email_address, data.invited_by_email_address);
        assert_eq!(erased().masked(&event(data.clone())).unwrap(), masked);
        assert_eq!(erased().masked(&masked), None);
        let other = EventData { first_name: Some("Anne".into()), ..data };
        assert_ne!(erased().masked(&event(other)).unwrap().data.first_name, masked.data.first_name);
    }

    #[test]
    fn an_address_is_masked_wherever_it_stands() {
        let invited = |guid: Option<Uuid>, address: &'static str| {
            event(EventData {
                user_guid: Some(Uuid::from_u128(2)),
                invited_by_user_guid: guid,
                invited_by_email_address: Some(address.into()),
                ..EventData::default()
            })
        };
        assert!(erased().masked(&invited(None, "ANNA@example.org")).is_some());
        assert!(erased().masked(&invited(Some(ANNA), "another@example.org")).is_some());
        assert!(erased().masked(&invited(None, "another@example.org")).is_none());
    }

    #[test]
    fn lines_of_any_form_that_name_a_user_are_found() {
        let erased = erased();
        for line in [
            r#"{"userGuid":"a11a0000000000000000000000000001""#,
            r#"{"userGuid":"A11A0000-0000-0000-0000-000000000001"}"#,
            r"x\u006111a0000000000000000000000000001",
            "0a11a00000000000000000000000000010",
            "To: <anna@example.org>.",
            r#"{"a":"Anna\u0040example.org","#,
        ] {
            assert!(erased.are_named_in(line.as_bytes()), "{line}");
        }
        for line in ["a11a00000000000000000000000000", "anna@example.orgs", "joanna@example.org", r"\u", r"\ud800x", ""]
        {
            assert!(!erased.are_named_in(line.as_bytes()), "{line}");
        }
        assert!(!Erased::default().are_named_in(b"a11a0000000000000000000000000001"));
    }
}
