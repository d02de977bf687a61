//! Plain, gzip and zstd, told apart by content and not by name.

use std::io::{self, BufReader, Cursor, Read};

use flate2::read::MultiGzDecoder;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const BUFFER_BYTES: usize = 128 * 1024;

/// The text of a reader's content, whatever it is compressed with; members and frames may follow each other.
///
/// # Errors
/// When the first bytes can't be read.
pub fn decompressed(mut reader: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let mut magic = Vec::with_capacity(ZSTD.len());
    reader.by_ref().take(ZSTD.len() as u64).read_to_end(&mut magic)?;
    let is_gzip = magic.starts_with(&GZIP);
    let is_zstd = magic.starts_with(&ZSTD);
    let whole = Cursor::new(magic).chain(reader);
    Ok(match (is_gzip, is_zstd) {
        (true, _) => Box::new(MultiGzDecoder::new(BufReader::with_capacity(BUFFER_BYTES, whole))),
        (_, true) => Box::new(zstd::Decoder::with_buffer(BufReader::with_capacity(BUFFER_BYTES, whole))?),
        _ => Box::new(whole),
    })
}

/// Whether content that begins like this is compressed.
pub(super) fn is_compressed(head: &[u8]) -> bool {
    head.starts_with(&GZIP) || head.starts_with(&ZSTD)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn text_of(content: Vec<u8>) -> io::Result<String> {
        let mut text = String::new();
        decompressed(Cursor::new(content))?.read_to_string(&mut text)?;
        Ok(text)
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn tells_by_content_and_reads_concatenations() {
        let zstd = |text: &str| zstd::encode_all(text.as_bytes(), 1).unwrap();
        for text in ["", "a", "{}\n{}\n"] {
            assert_eq!(text_of(text.as_bytes().to_vec()).unwrap(), text);
        }
        assert_eq!(text_of([gzip("one\n"), gzip("two\n")].concat()).unwrap(), "one\ntwo\n");
        assert_eq!(text_of([zstd("one\n"), zstd("two\n")].concat()).unwrap(), "one\ntwo\n");
    }

    #[test]
    fn content_that_is_cut_off_is_an_error() {
        let whole = gzip(&"a line of text\n".repeat(1000));
        assert!(text_of(whole[..whole.len() - 9].to_vec()).is_err());
        let whole = zstd::encode_all("a line of text\n".repeat(1000).as_bytes(), 1).unwrap();
        assert!(text_of(whole[..whole.len() - 3].to_vec()).is_err());
    }
}
