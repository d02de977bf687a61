//! Users whose personal data was erased: what stands in its place (`docs/erasure.md`).

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use uuid::Uuid;

use super::{Event, EventData};

/// What stands in the place of a text begins so, and 32 hex digits follow.
const MASK: &str = "erased:";
const DIGITS: usize = 32;

/// Makes masks. A mask is a keyed hash: what was the same text is the same mask, also when it comes again, so copies stay copies
/// and conflicts stay conflicts.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Masks {
    key: [u8; 32],
}

/// The users who were erased, and what masks are made with.
#[derive(Clone, Debug, Default)]
pub struct Erased {
    masks: Masks,
    users: HashSet<Uuid>,
    /// Keyed hashes of their e-mail addresses.
    emails: HashSet<[u8; 32]>,
}

/// The key is a secret.
impl fmt::Debug for Masks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Masks")
    }
}

impl Masks {
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// What stands in the place of an e-mail address; none where it is empty, or a mask.
    #[must_use]
    pub fn email(&self, address: &str) -> Option<String> {
        self.mask(&["e-mail"], address)
    }

    /// What stands in the place of a name that this member of an event tells of a user; none where it is empty, or a mask.
    #[must_use]
    pub fn name(&self, member: &str, user: Uuid, name: &str) -> Option<String> {
        self.mask(&[member, &user.simple().to_string()], name)
    }

    fn mask(&self, of: &[&str], plain: &str) -> Option<String> {
        if plain.is_empty() || Erased::is_mask(plain) {
            return None;
        }
        let hash = blake3::Hash::from(self.hash(&[of, &["mask", plain]].concat()));
        Some([MASK, &hash.to_hex()[..DIGITS]].concat())
    }

    fn hash(&self, parts: &[&str]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        hasher.finalize().into()
    }
}

impl Erased {
    #[must_use]
    pub fn new(masks: Masks, users: HashSet<Uuid>, emails: HashSet<[u8; 32]>) -> Self {
        Self { masks, users, emails }
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
        self.masks.hash(&["e-mail", &address.to_lowercase()])
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
            for (member, name) in [("firstName", &mut data.first_name), ("lastName", &mut data.last_name)] {
                is_masked |= replace(name, |name| self.masks.name(member, user, name));
            }
        }
        is_masked.then_some(masked)
    }

    fn mask_email(&self, text: &mut Option<Cow<'_, str>>, is_theirs: bool) -> bool {
        (is_theirs || self.knows(text.as_deref())) && replace(text, |address| self.masks.email(address))
    }

    fn knows(&self, address: Option<&str>) -> bool {
        address.is_some_and(|address| self.emails.contains(&self.email(address)))
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

/// Puts the mask in the text's place, and tells whether there is one.
fn replace(text: &mut Option<Cow<'_, str>>, mask: impl Fn(&str) -> Option<String>) -> bool {
    let masked = text.as_deref().and_then(mask);
    let is_masked = masked.is_some();
    if let Some(masked) = masked {
        *text = Some(Cow::Owned(masked));
    }
    is_masked
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
        let bare = Erased::new(Masks::new([7; 32]), HashSet::from([ANNA]), HashSet::new());
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
