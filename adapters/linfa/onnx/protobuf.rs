//! The part of the protocol buffers' wire format that a graph takes.

/// A message: its fields in the order in which they were added.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// With one more field, a whole number.
    pub(super) fn int(mut self, field: u32, value: i64) -> Self {
        self.varint(u64::from(field) << 3);
        self.varint(value.cast_unsigned());
        self
    }

    /// With one more field, bytes.
    pub(super) fn bytes(mut self, field: u32, bytes: &[u8]) -> Self {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    /// With one more field, a text.
    pub(super) fn text(self, field: u32, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    /// With one more field, a message.
    pub(super) fn message(self, field: u32, message: &Self) -> Self {
        self.bytes(field, &message.0)
    }

    /// As it is sent.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Seven bits to a byte, the lowest first; the eighth says that more follow.
    fn varint(&mut self, mut rest: u64) {
        while rest >= 0x80 {
            self.0.push(rest.to_le_bytes()[0] | 0x80);
            rest >>= 7;
        }
        self.0.push(rest.to_le_bytes()[0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the format's own description, and the longest number.
    #[test]
    fn as_the_encoding_is_described() {
        let one = Message::default().int(1, 150);
        assert_eq!(one.clone().into_bytes(), [0x08, 0x96, 0x01]);
        let text = Message::default().text(2, "testing");
        assert_eq!(text.into_bytes(), [&[0x12, 0x07][..], b"testing"].concat());
        let within = Message::default().message(3, &one);
        assert_eq!(within.into_bytes(), [0x1a, 0x03, 0x08, 0x96, 0x01]);
        let negative = Message::default().int(20, -1).into_bytes();
        let all_bits = [[0xff; 9].as_slice(), &[0x01]].concat();
        assert_eq!(negative, [&[0xa0, 0x01][..], &all_bits].concat());
    }
}
