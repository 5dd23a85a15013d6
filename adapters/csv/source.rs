//! The bytes of a file on their way to the parser, which itself takes whatever comes.

use std::io::{self, Read};

/// The byte order mark of UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Hands bytes on as long as they are UTF-8 without NUL and the current row is not too long.
#[derive(Debug)]
pub(super) struct Source<R> {
    inner: R,
    // the first bytes, until they are handed on; `None` before they are read
    head: Option<Vec<u8>>,
    record_limit: usize,
    // bytes that the current row may still take
    left: usize,
    // bytes and line breaks handed on
    offset: u64,
    lines: u64,
    // beginning of a character whose end is still to come, at most 3 bytes
    cut: Vec<u8>,
    fault: Option<Fault>,
}

/// Why no more bytes are handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    TooLong { limit: usize },
    NotUtf8 { offset: u64, line: u64, byte: u8 },
    Nul { offset: u64, line: u64 },
}

impl Fault {
    /// What to say of it; `record_line` is where the current row begins.
    pub(super) fn describe(self, record_line: u64) -> String {
        match self {
            Self::TooLong { limit } => format!(
                "the row that begins on line {record_line} is longer than {limit} bytes: \
                 is a quote left open?"
            ),
            Self::NotUtf8 { offset: 0, byte: 0xfe | 0xff, .. } => {
                "it begins like UTF-16, expected UTF-8".to_owned()
            }
            Self::NotUtf8 { offset, line, byte } => format!(
                "byte 0x{byte:02x} at offset {offset} (line {line}) is not UTF-8: \
                 is the file Latin-1 or Windows-1252?"
            ),
            Self::Nul { offset, line } => format!(
                "a NUL byte at offset {offset} (line {line}): is the file UTF-16, or no text at all?"
            ),
        }
    }
}

impl<R> Source<R> {
    pub(super) fn new(inner: R, record_limit: usize) -> Self {
        Self {
            inner,
            head: None,
            record_limit,
            left: 0,
            offset: 0,
            lines: 0,
            cut: Vec::new(),
            fault: None,
        }
    }

    /// The bytes from here on belong to another row.
    pub(super) fn begin_record(&mut self) {
        // One more than allowed, so that a row of just the limit is not taken for a longer one.
        self.left = self.record_limit.saturating_add(1);
    }

    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Looks at the next bytes; none at the end.
    fn check(&mut self, bytes: &[u8]) -> Option<Fault> {
        let mut joined = std::mem::take(&mut self.cut);
        let start = self.offset - joined.len() as u64;
        let text = if joined.is_empty() {
            bytes
        } else {
            joined.extend_from_slice(bytes);
            &joined
        };
        let (valid, complete) = match std::str::from_utf8(text) {
            Ok(_) => (text.len(), true),
            Err(error) => (error.valid_up_to(), error.error_len().is_some() || bytes.is_empty()),
        };
        let nul = text[..valid].iter().position(|byte| *byte == 0);
        let lines = |end: usize| text[..end].iter().filter(|byte| **byte == b'\n').count() as u64;
        let at = |index: usize| (start + index as u64, self.lines + 1 + lines(index));
        match (nul, text.get(valid)) {
            (Some(index), _) => {
                let (offset, line) = at(index);
                return Some(Fault::Nul { offset, line });
            }
            (None, Some(byte)) if complete => {
                let (offset, line) = at(valid);
                return Some(Fault::NotUtf8 { offset, line, byte: *byte });
            }
            _ => {}
        }
        self.cut = text[valid..].to_vec();
        self.lines += lines(valid);
        self.offset += bytes.len() as u64;
        None
    }
}

impl<R: Read> Source<R> {
    /// The next bytes, without a byte order mark at the beginning.
    fn take(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let head = match &mut self.head {
            Some(head) => head,
            none => {
                let mut head = Vec::new();
                self.inner.by_ref().take(MARK.len() as u64).read_to_end(&mut head)?;
                if head == MARK {
                    head.clear();
                    self.offset = MARK.len() as u64;
                }
                none.insert(head)
            }
        };
        if head.is_empty() {
            return self.inner.read(buffer);
        }
        let read = head.as_slice().read(buffer)?;
        head.drain(..read);
        Ok(read)
    }
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            self.fault = Some(Fault::TooLong { limit: self.record_limit });
        }
        if self.fault.is_none() {
            let most = buffer.len().min(self.left);
            let read = self.take(&mut buffer[..most])?;
            self.left -= read;
            self.fault = self.check(&buffer[..read]);
            if self.fault.is_none() {
                return Ok(read);
            }
        }
        Err(io::Error::from(io::ErrorKind::InvalidData))
    }
}
