use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, WireType},
};

/// A `SystemRegisterEntry` kept as its encoded bytes.
///
/// It replaces the generated message, so that peers choose when to decode it. The bytes are not validated here. Encoding copies
/// them; a sender of large entries sends the bytes themselves.
///
/// A decoded one owns its bytes. A slice of the connection's buffer would keep the whole buffer in memory: 200 bytes that arrive
/// beside 16 MB would hold 16 MB.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncodedEntry(pub Bytes);

impl Message for EncodedEntry {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        buf.put_slice(&self.0);
    }

    fn merge_field(
        &mut self,
        _tag: u32,
        _wire_type: WireType,
        _buf: &mut impl Buf,
        _ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        // Never reached: `merge` and `decode` below take the bytes whole.
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn clear(&mut self) {
        self.0.clear();
    }

    fn decode(buf: impl Buf) -> Result<Self, DecodeError> {
        let mut own = BytesMut::with_capacity(buf.remaining());
        own.put(buf);
        Ok(Self(own.freeze()))
    }

    fn merge(&mut self, buf: impl Buf) -> Result<(), DecodeError> {
        *self = Self::decode(buf)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::SystemRegisterEntry;

    #[test]
    fn what_is_decoded_keeps_nothing_of_the_buffer_that_it_came_in() {
        let mut buffer = Bytes::from(vec![7; 1 << 20]);
        let before = buffer.as_ptr_range();
        let encoded = EncodedEntry::decode(buffer.split_to(200)).expect("decoding takes any bytes");
        assert_eq!(encoded.0, [7; 200][..]);
        assert!(!before.contains(&encoded.0.as_ptr()), "the bytes are their own");
    }

    #[test]
    fn same_bytes_as_the_generated_message() {
        let entry = SystemRegisterEntry {
            blueprint_id: "a".into(),
            version: 7,
            is_active: true,
            ..Default::default()
        };
        let bytes = entry.encode_to_vec();
        let encoded = EncodedEntry::decode(bytes.as_slice()).expect("decoding takes any bytes");
        assert_eq!(encoded.encode_to_vec(), bytes);
        assert_eq!(SystemRegisterEntry::decode(encoded.0).expect("unchanged"), entry);
    }
}
