//! Cutting a text of any length into pieces of whole lines, in bounded memory.

use std::io::{self, Read};

/// A piece holds about so many bytes, so that a few pieces keep all threads busy and fit into the cache of each.
const PIECE_BYTES: usize = 1 << 20;
/// So much is kept of a line that is too long (`spec/events.md`, What happens to each input line).
pub(super) const KEPT_OF_LONG_LINE: usize = 64 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Whole lines, or what is kept of one line that is too long to be held.
#[derive(Debug)]
pub(super) struct Piece {
    /// Where it begins, in bytes of the text.
    pub offset: u64,
    /// Where the next piece begins.
    pub end: u64,
    pub content: PieceContent,
}

#[derive(Debug)]
pub(super) enum PieceContent {
    /// Lines with their endings; the text's last line may lack it.
    Lines(Vec<u8>),
    LongLine {
        head: Vec<u8>,
        length: u64,
        hash: [u8; 32],
    },
}

/// Cuts a reader's text into pieces.
pub(super) struct Pieces {
    reader: Box<dyn Read + Send>,
    max_line_bytes: usize,
    /// Read but not yet given out: the beginning of a line.
    rest: Vec<u8>,
    /// Buffers of pieces that are done with.
    spare: Vec<Vec<u8>>,
    offset: u64,
    ended: bool,
    failure: Option<io::Error>,
}

impl Pieces {
    /// `offset` is where in the text the reader stands.
    pub fn new(reader: Box<dyn Read + Send>, offset: u64, max_line_bytes: usize) -> Self {
        Self { reader, max_line_bytes, rest: Vec::new(), spare: Vec::new(), offset, ended: false, failure: None }
    }

    /// The next piece; none at the end of the text, and behind an error. Whole lines before the error are given out first;
    /// half a line is not.
    pub fn next(&mut self) -> io::Result<Option<Piece>> {
        if let Some(error) = self.failure.take() {
            self.rest.clear();
            return Err(error);
        }
        // A line of the allowed length, with its ending, fits from its first byte on.
        let wanted = PIECE_BYTES.max(self.max_line_bytes + 2);
        let mut bytes = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(wanted));
        bytes.clear();
        bytes.append(&mut self.rest);
        if let Err(error) = self.fill(&mut bytes, wanted) {
            self.failure = Some(error);
            self.ended = true;
        }
        if self.offset == 0 && bytes.starts_with(BYTE_ORDER_MARK) {
            bytes.drain(..BYTE_ORDER_MARK.len());
            self.offset = BYTE_ORDER_MARK.len() as u64;
        }
        let whole = match memchr::memrchr(b'\n', &bytes) {
            _ if self.ended && self.failure.is_none() => bytes.len(),
            Some(newline) => newline + 1,
            None => 0,
        };
        if whole > 0 {
            self.rest = bytes.split_off(whole);
            return Ok(Some(self.piece(bytes.len() as u64, PieceContent::Lines(bytes))));
        }
        match self.failure.take() {
            Some(error) => Err(error),
            None if bytes.is_empty() => Ok(None),
            None => self.long_line(bytes).map(Some),
        }
    }

    /// Takes back a piece that is done with: its buffer serves the next one, which spares the system a page at a time.
    pub fn recycle(&mut self, piece: Piece) {
        if let PieceContent::Lines(bytes) = piece.content {
            self.spare.push(bytes);
        }
    }

    fn piece(&mut self, length: u64, content: PieceContent) -> Piece {
        let offset = self.offset;
        self.offset += length;
        Piece { offset, end: self.offset, content }
    }

    fn fill(&mut self, bytes: &mut Vec<u8>, wanted: usize) -> io::Result<()> {
        while bytes.len() < wanted && !self.ended {
            let missing = (wanted - bytes.len()) as u64;
            let read = self.reader.by_ref().take(missing).read_to_end(bytes)?;
            self.ended = (read as u64) < missing;
        }
        Ok(())
    }

    /// Reads on to the end of a line whose beginning fills a whole piece, keeping its head and its hash.
    fn long_line(&mut self, mut bytes: Vec<u8>) -> io::Result<Piece> {
        let mut hasher = blake3::Hasher::new();
        let head = bytes[..KEPT_OF_LONG_LINE.min(bytes.len())].to_vec();
        let mut length = 0;
        let mut last = 0;
        loop {
            let newline = memchr::memchr(b'\n', &bytes);
            let of_line = newline.unwrap_or(bytes.len());
            hasher.update(&bytes[..of_line]);
            length += of_line as u64;
            last = bytes[..of_line].last().copied().unwrap_or(last);
            if newline.is_some() || (bytes.is_empty() && self.ended) {
                self.rest = bytes.split_off((of_line + 1).min(bytes.len()));
                let line_ending = u64::from(newline.is_some());
                // The carriage return of a CRLF is part of the ending; the hash is that of what was hashed.
                let content_length = length - u64::from(newline.is_some() && last == b'\r');
                let content =
                    PieceContent::LongLine { head, length: content_length, hash: *hasher.finalize().as_bytes() };
                return Ok(self.piece(length + line_ending, content));
            }
            bytes.clear();
            self.fill(&mut bytes, PIECE_BYTES)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn pieces(text: &[u8], max_line_bytes: usize) -> Vec<Piece> {
        let mut pieces = Pieces::new(Box::new(Cursor::new(text.to_vec())), 0, max_line_bytes);
        std::iter::from_fn(|| pieces.next().unwrap()).collect()
    }

    #[test]
    fn a_line_of_any_length_is_passed_by_in_bounded_memory() {
        let long = "x".repeat(5 << 20);
        let text = format!("first\n{long}\nlast");
        let pieces = pieces(text.as_bytes(), 1 << 20);
        let PieceContent::LongLine { head, length, hash } = &pieces[1].content else {
            panic!("{:?}", pieces[1].offset)
        };
        assert_eq!((head.len(), *length), (KEPT_OF_LONG_LINE, 5 << 20));
        assert_eq!(*hash, *blake3::hash(long.as_bytes()).as_bytes());
        assert!(matches!(&pieces[2].content, PieceContent::Lines(lines) if lines == b"last"));
        assert_eq!(pieces[2].end, text.len() as u64);
    }

    #[test]
    fn a_byte_order_mark_is_skipped_at_the_start_only() {
        let pieces = pieces(b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", 10);
        assert_eq!(pieces[0].offset, 3);
        assert!(matches!(&pieces[0].content, PieceContent::Lines(lines) if lines == b"a\n\xef\xbb\xbfb\n"));
    }

    #[test]
    fn lines_before_a_read_error_are_given_out_and_half_a_line_is_not() {
        struct Breaks(Cursor<&'static [u8]>);
        impl Read for Breaks {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                match self.0.read(buffer)? {
                    0 => Err(io::Error::other("broken")),
                    read => Ok(read),
                }
            }
        }
        let mut pieces = Pieces::new(Box::new(Breaks(Cursor::new(b"one\ntwo\nthr"))), 0, 100);
        assert!(
            matches!(pieces.next().unwrap().unwrap().content, PieceContent::Lines(lines) if lines == b"one\ntwo\n")
        );
        assert!(pieces.next().is_err());
        assert!(pieces.next().unwrap().is_none());
    }

    proptest! {
        #[test]
        fn pieces_joined_are_the_text(lines in prop::collection::vec("[a-c]{0,40}", 0..200), ends in any::<bool>()) {
            let mut text = lines.join("\n");
            if ends { text.push('\n'); }
            let mut joined = Vec::new();
            for piece in pieces(text.as_bytes(), 8) {
                prop_assert_eq!(piece.offset, joined.len() as u64);
                let PieceContent::Lines(lines) = piece.content else { panic!() };
                joined.extend(lines);
                prop_assert_eq!(piece.end, joined.len() as u64);
            }
            prop_assert_eq!(joined, text.into_bytes());
        }
    }
}
