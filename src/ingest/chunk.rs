//! Decoding one piece of an input: every line of it becomes an event or a dead letter.

use super::decode::{LineDecoder, Reason, Rejection};
use super::lines::{KEPT_OF_LONG_LINE, Piece, PieceContent};
use super::pipeline::IngestRules;
use crate::event_log::PackedEvents;
use crate::model::Event;
use crate::rollup::VoidMark;
use crate::store::DeadLetter;

/// A decoded piece. Its line numbers count from the piece's first line, which is 0.
pub(super) struct Decoded {
    pub events: PackedEvents,
    pub voids: Vec<VoidMark>,
    pub dead_letters: Vec<DeadLetter>,
    /// Lines, blank ones left out.
    pub lines: u64,
    /// Lines, blank ones included.
    pub physical_lines: u64,
    /// Where the next piece begins.
    pub end: u64,
    /// How much memory it holds, about.
    pub bytes: usize,
}

/// Decodes a piece of an input; `events` is a buffer.
pub(super) fn decode(piece: &Piece, input: i64, rules: &IngestRules, mut events: PackedEvents) -> Decoded {
    let text_bytes = match &piece.content {
        PieceContent::Lines(text) => text.len(),
        PieceContent::LongLine { .. } => 0,
    };
    events.reuse(input, text_bytes);
    let mut decoding = Decoding { events, voids: Vec::new(), dead_letters: Vec::new(), lines: 0, input, rules };
    let mut physical_lines = 0;
    match &piece.content {
        PieceContent::Lines(text) => {
            // Where the whole piece is UTF-8, as it mostly is, no line has to be looked at for that.
            let mut lines = simdutf8::basic::from_utf8(text).ok().map(|text| rules.decoder.lines(text));
            let mut start = 0;
            while start < text.len() {
                if let Some(next) = decoding.plain_line(text, lines.as_mut(), start, physical_lines) {
                    physical_lines += 1;
                    start = next;
                    continue;
                }
                let end = memchr::memchr(b'\n', &text[start..]).map_or(text.len(), |length| start + length);
                decoding.line(&text[start..end], lines.as_mut(), start, physical_lines, piece.offset);
                physical_lines += 1;
                start = end + 1;
            }
        }
        PieceContent::LongLine { head, length, hash } => {
            physical_lines = 1;
            decoding.long_line(head, *length, *hash, 0, piece.offset);
        }
    }
    Decoded {
        events: decoding.events,
        voids: decoding.voids,
        dead_letters: decoding.dead_letters,
        lines: decoding.lines,
        physical_lines,
        end: piece.end,
        bytes: text_bytes,
    }
}

struct Decoding<'a> {
    events: PackedEvents,
    voids: Vec<VoidMark>,
    dead_letters: Vec<DeadLetter>,
    lines: u64,
    input: i64,
    rules: &'a IngestRules,
}

impl Decoding<'_> {
    /// Tries the line that begins at `start` for what most lines are: a plain event and a line ending, the place of which need
    /// not be looked for beforehand. Tells where the next line begins.
    #[inline]
    fn plain_line(&mut self, text: &[u8], lines: Option<&mut LineDecoder>, start: usize, number: u64) -> Option<usize> {
        let (event, end) = lines?.decode_plain(start)?;
        let ending = match text.get(end..)? {
            [b'\n', ..] => 1,
            [b'\r', b'\n', ..] => 2,
            _ => return None,
        };
        if end - start > self.rules.max_line_bytes {
            return None;
        }
        self.lines += 1;
        self.event(event, number);
        Some(end + ending)
    }

    /// A line that begins at `start` of the piece, which itself begins at `offset` of the text.
    fn line(&mut self, line: &[u8], lines: Option<&mut LineDecoder>, start: usize, number: u64, offset: u64) {
        let offset = offset + start as u64;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.first() != Some(&b'{') && line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')) {
            return;
        }
        if line.len() > self.rules.max_line_bytes {
            self.long_line(line, line.len() as u64, *blake3::hash(line).as_bytes(), number, offset);
            return;
        }
        self.lines += 1;
        let refused = match lines {
            Some(lines) => lines.decode_any(start..start + line.len()).map(|event| self.event(event, number)),
            None => self.rules.decoder.decode(line).map(|event| self.event(&event, number)).map_err(Box::new),
        };
        if let Err(refusal) = refused {
            self.reject(DeadLetter {
                input: self.input,
                line: number,
                offset,
                rejection: *refusal,
                content: line.to_vec(),
                length: line.len() as u64,
                hash: *blake3::hash(line).as_bytes(),
            });
        }
    }

    fn event(&mut self, event: &Event<'_>, number: u64) {
        self.voids.extend(VoidMark::of(event));
        match self.rules.erased.masked(event) {
            None => self.events.push(event, number),
            Some(masked) => self.events.push(&masked, number),
        }
    }

    fn reject(&mut self, letter: DeadLetter) {
        let is_named = self.rules.erased.are_named_in(&letter.content);
        self.dead_letters.push(if is_named { letter.masked() } else { letter });
    }

    fn long_line(&mut self, line: &[u8], length: u64, hash: [u8; 32], number: u64, offset: u64) {
        self.lines += 1;
        let detail = format!("{length} bytes; ingest.max_line_bytes allows {}", self.rules.max_line_bytes);
        self.reject(DeadLetter {
            input: self.input,
            line: number,
            offset,
            rejection: Rejection::new(Reason::LineTooLong, "", detail),
            content: line[..line.len().min(KEPT_OF_LONG_LINE)].to_vec(),
            length,
            hash,
        });
    }
}
