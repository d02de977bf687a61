//! Finding a type by two of its letters.

use super::super::Decoder;
use super::super::json::{LEAD_BYTES, Name};
use super::cursor::Cursor;
use crate::model::EventType;

const TYPES: usize = EventType::ALL.len();
const SLOTS: usize = 64;

/// The names, as `"name":` without the colon is not compared.
static NAMES: [Name; TYPES] = {
    let mut names = [Name::new(""); TYPES];
    let mut index = 0;
    while index < TYPES {
        names[index] = Name::quoted(EventType::ALL[index].name());
        index += 1;
    }
    names
};

/// What turns the two letters into a slot of their own.
const FACTOR: usize = {
    let mut factor = 1;
    while slots(factor).is_none() {
        factor += 1;
    }
    factor
};

/// Which type may stand in each slot.
static SLOT: [EventType; SLOTS] = match slots(FACTOR) {
    Some(slots) => slots,
    None => [EventType::MessageSent; SLOTS],
};

/// Places within `"name"`, where the names differ.
const FIRST: usize = 6;
const SECOND: usize = 9;

const fn slot_of(first: u8, second: u8, factor: usize) -> usize {
    (first as usize * factor + second as usize) % SLOTS
}

/// The table that a factor makes, if no two types fall into one slot.
const fn slots(factor: usize) -> Option<[EventType; SLOTS]> {
    let mut slots = [EventType::MessageSent; SLOTS];
    let mut taken = [false; SLOTS];
    let mut index = 0;
    while index < TYPES {
        let name = EventType::ALL[index].name().as_bytes();
        let slot = slot_of(name[FIRST - 1], name[SECOND - 1], factor);
        if taken[slot] {
            return None;
        }
        taken[slot] = true;
        slots[slot] = EventType::ALL[index];
        index += 1;
    }
    Some(slots)
}

/// Reads a type's name, or one that is mapped to a type.
#[inline]
pub(super) fn read(cursor: &mut Cursor<'_>, decoder: &Decoder) -> Option<EventType> {
    let ahead: &[u8; LEAD_BYTES] = cursor.ahead()?;
    let event_type = SLOT[slot_of(ahead[FIRST], ahead[SECOND], FACTOR)];
    let name = &NAMES[event_type as usize];
    if name.leads(ahead) {
        cursor.pass(name.text.len() + 2)?;
        return Some(event_type);
    }
    decoder.event_type(cursor.text()?)
}
