//! Decoded events waiting to be written: packed, because many of them wait, and indexed by what orders them.

use crate::model::{Day, Event, Instant};

/// Events of one input, in order of arrival.
#[derive(Debug, Default)]
pub struct PackedEvents {
    input: i64,
    /// Added to the line numbers, which count from the piece that was decoded.
    first_line: u64,
    bytes: Vec<u8>,
    places: Vec<Place>,
}

/// Where an event stands, and in which order.
#[derive(Clone, Copy, Debug)]
struct Place {
    service: u128,
    time: Instant,
    start: usize,
    line: u64,
}

/// What orders the events of the log, but for source and id; and which event it is of which pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub day: Day,
    pub service: u128,
    pub time: Instant,
    pub pack: u32,
    pub event: u32,
}

impl PackedEvents {
    /// No events yet, of the input numbered `input`.
    #[must_use]
    pub fn of_input(input: i64) -> Self {
        Self { input, ..Self::default() }
    }

    /// Adds an event, which stood on this line.
    pub fn push(&mut self, event: &Event<'_>, line: u64) {
        let start = self.bytes.len();
        let bytes = std::mem::take(&mut self.bytes);
        self.bytes = postcard::to_extend(event, bytes).expect("memory takes any event");
        self.places.push(Place { service: event.service.as_u128(), time: event.time, start, line });
    }

    /// Moves the line numbers of all events.
    pub fn set_first_line(&mut self, first_line: u64) {
        self.first_line = first_line;
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(super) fn keys(&self, pack: u32) -> impl Iterator<Item = Key> + '_ {
        self.places.iter().zip(0..).map(move |(place, event)| Key {
            day: Day::utc_of(place.time),
            service: place.service,
            time: place.time,
            pack,
            event,
        })
    }

    /// An event, with the number of its input and that of its line.
    pub(super) fn get(&self, event: u32) -> (Event<'_>, i64, u64) {
        let place = &self.places[event as usize];
        let event = postcard::from_bytes(&self.bytes[place.start..]).expect("what was packed can be unpacked");
        (event, self.input, place.line + self.first_line)
    }
}
