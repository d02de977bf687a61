//! Decoding the lines of one text, with what the lines before taught.

use std::borrow::Cow;
use std::ops::Range;

use uuid::Uuid;

use super::json::{Json, Order};
use super::{Decoder, Refusal, envelope, plain};
use crate::model::{Attachment, Event, EventData, EventType, Instant, LastDate};

/// What lines before taught, and what they left to be used again. It makes decoding quicker and changes no result.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub envelope: Order,
    /// By type.
    pub data: [Order; EventType::ALL.len()],
    pub attachment: Order,
    pub date: LastDate,
    pub guids: Vec<Uuid>,
    pub attachments: Vec<Attachment>,
}

/// Decodes lines of one text.
#[derive(Debug)]
pub struct LineDecoder<'d, 'a> {
    decoder: &'d Decoder,
    text: &'a str,
    memory: Memory,
    event: Event<'a>,
    /// How many lines on end were not plain.
    odd_lines: u32,
}

/// After so many lines on end that are not plain, only one of as many is tried for it.
const PATIENCE: u32 = 32;

impl<'d, 'a> LineDecoder<'d, 'a> {
    pub(super) fn new(decoder: &'d Decoder, text: &'a str) -> Self {
        let event = Event {
            service: Uuid::nil(),
            time: Instant::from_nanos(0),
            // Like that of any event before, it is valid: a line with the same source needs no look at it.
            source: Cow::Borrowed("/"),
            id: Cow::Borrowed(""),
            event_type: EventType::MessageSent,
            data: EventData::default(),
        };
        Self { decoder, text, memory: Memory::default(), event, odd_lines: 0 }
    }

    /// Decodes and validates the line that stands there in the text, without its line ending.
    ///
    /// # Errors
    /// The reason for which the line is rejected; it concerns this line alone.
    ///
    /// # Panics
    /// When there is no such range of the text.
    #[inline]
    pub fn decode(&mut self, line: Range<usize>) -> Result<&Event<'a>, Refusal> {
        if self.plain_end(line.start) == Some(line.end) { Ok(&self.event) } else { self.decode_any(line) }
    }

    /// Decodes the line that begins there in the text, if it is as plain as most are, and tells where it ends: before a line
    /// feed that may follow. Otherwise nothing is said about the line.
    #[inline]
    pub fn decode_plain(&mut self, start: usize) -> Option<(&Event<'a>, usize)> {
        let end = self.plain_end(start)?;
        Some((&self.event, end))
    }

    #[inline]
    fn plain_end(&mut self, start: usize) -> Option<usize> {
        if self.odd_lines >= PATIENCE && !self.odd_lines.is_multiple_of(PATIENCE) {
            self.odd_lines = self.odd_lines.wrapping_add(1);
            return None;
        }
        self.clear();
        let end = plain::decode(self.decoder, self.text, start, &mut self.event, &mut self.memory);
        self.odd_lines = if end.is_some() { 0 } else { self.odd_lines.wrapping_add(1) };
        end
    }

    /// Decodes and validates the line that stands there in the text, plain or not.
    ///
    /// # Errors
    /// As [`Self::decode`].
    ///
    /// # Panics
    /// As [`Self::decode`].
    #[inline(never)]
    pub fn decode_any(&mut self, line: Range<usize>) -> Result<&Event<'a>, Refusal> {
        self.clear();
        let json = Json::new(&self.text[line.clone()], &self.text.as_bytes()[line.start..]);
        envelope::decode(self.decoder, json, &mut self.event, &mut self.memory)?;
        Ok(&self.event)
    }

    /// Decodes the whole text as one line.
    pub(super) fn decode_alone(mut self) -> Result<Event<'a>, Refusal> {
        self.decode_any(0..self.text.len())?;
        Ok(self.event)
    }

    /// Forgets the last event but for its source, and keeps its buffers.
    #[inline]
    fn clear(&mut self) {
        let data = &mut self.event.data;
        if let Some(mut guids) = data.recipient_user_guids.take() {
            guids.clear();
            self.memory.guids = guids;
        }
        if let Some(mut attachments) = data.attachments.take() {
            attachments.clear();
            self.memory.attachments = attachments;
        }
        // What is read is always the data of the event's type: the frequent types have few members that can be there.
        match self.event.event_type {
            EventType::MessageSent => {
                (data.message_guid, data.user_guid, data.recipient_count) = (None, None, None);
            }
            EventType::MessageRetrieved => (data.message_guid, data.user_guid) = (None, None),
            EventType::AttachmentPurged => (data.attachment_guid, data.size_bytes) = (None, None),
            EventType::FeatureUsed => (data.feature, data.user_guid, data.quantity) = (None, None, None),
            _ => *data = EventData::default(),
        }
        debug_assert_eq!(*data, EventData::default());
    }
}
