//! Lines as producers write them: without white space, escapes or surprises. They are decoded here with few questions asked.
//!
//! Whatever is not so plain, or not valid, is left to [`super::envelope`], which reads the line anew, finds the same event in
//! it or tells what is wrong. So nothing here has to tell good from bad, only to be sure of what it takes.

mod cursor;
mod data;
mod types;

use std::borrow::Cow;

use cursor::Cursor;

use super::Decoder;
use super::envelope::{ATTRIBUTES, DATA, ID, IGNORED, MAX_IDENTIFIER_BYTES, SOURCE, SPECVERSION, SUBJECT, TYPE};
use super::json::Name;
use super::lines::Memory;
use crate::model::Event;

/// All attributes that an envelope must have.
const ALL: u8 = (1 << IGNORED) - 1;

/// Reads the plain line that begins at `start` into `event`, of which the data is empty, and tells where its object ends:
/// before a line feed, if any follows. Otherwise `event` is left with what was read so far.
pub(super) fn decode<'a>(
    decoder: &Decoder,
    text: &'a str,
    start: usize,
    event: &mut Event<'a>,
    memory: &mut Memory,
) -> Option<usize> {
    let mut cursor = Cursor::new(text, start)?;
    let (mut seen, mut place) = (0_u8, 0);
    cursor.byte(b'{')?;
    loop {
        let guess = memory.envelope.guess(place);
        if ATTRIBUTES.get(guess).is_some_and(|name| cursor.lead(name)) {
            let bit = 1 << guess;
            if seen & bit & ALL != 0 {
                return None;
            }
            seen |= bit;
            match guess {
                SPECVERSION => cursor.literal(b"\"1.0\"")?,
                ID => {
                    event.id =
                        Cow::Borrowed(cursor.text().filter(|id| (1..=MAX_IDENTIFIER_BYTES).contains(&id.len()))?);
                }
                SOURCE => event.source = Cow::Borrowed(source(&mut cursor)?),
                TYPE => event.event_type = types::read(&mut cursor, decoder)?,
                SUBJECT => event.service = cursor.guid()?,
                DATA if seen & (1 << TYPE) != 0 => {
                    data::decode(event.event_type, &mut cursor, &mut event.data, memory)?;
                }
                DATA => return None,
                IGNORED => {
                    if cursor.literal(b"\"application/json\"").is_none() {
                        cursor.text()?;
                    }
                }
                _ => {
                    event.time = cursor.time(&mut memory.date)?;
                    if !(decoder.earliest..=decoder.latest).contains(&event.time) {
                        return None;
                    }
                }
            }
            place = guess + 1;
        } else {
            match cursor.find(&ATTRIBUTES) {
                Some(index) => {
                    memory.envelope.learn(place, index);
                    continue;
                }
                None => cursor.skip_unknown(1, |name| is_known(&ATTRIBUTES, name))?,
            }
        }
        if !cursor.comma(b'}')? {
            break;
        }
    }
    (seen & ALL == ALL).then(|| cursor.at())
}

fn is_known(names: &[Name], name: &str) -> bool {
    names.iter().any(|known| known.text == name)
}

/// Reads a URI reference.
#[inline]
fn source<'a>(cursor: &mut Cursor<'a>) -> Option<&'a str> {
    let source = cursor.text()?;
    let is_plain = source.bytes().all(|byte| PLAIN_IN_URI[usize::from(byte)]);
    (is_plain && (1..=MAX_IDENTIFIER_BYTES).contains(&source.len())).then_some(source)
}

/// The characters that may stand anywhere in a URI reference.
static PLAIN_IN_URI: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < 0x80_u8 {
        plain[byte as usize] = byte.is_ascii_graphic()
            && !matches!(byte, b'%' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}');
        byte += 1;
    }
    plain
};
