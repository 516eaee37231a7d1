//! Many short texts in one allocation.

use std::fmt;

use prost::encoding::{decode_varint, encode_varint, encoded_len_varint};

/// Texts, each with its length before it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Texts(Box<[u8]>);

impl Texts {
    pub(super) fn of<'t>(texts: impl Iterator<Item = &'t str> + Clone) -> Self {
        let length = |text: &str| encoded_len_varint(text.len() as u64) + text.len();
        let mut packed = Vec::with_capacity(texts.clone().map(length).sum());
        for text in texts {
            encode_varint(text.len() as u64, &mut packed);
            packed.extend_from_slice(text.as_bytes());
        }
        Self(packed.into())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
            let (text, after) = rest.split_at_checked(length)?;
            rest = after;
            std::str::from_utf8(text).ok()
        })
    }

    /// The text with this number; empty where there are fewer.
    pub(super) fn at(&self, number: usize) -> &str {
        self.iter().nth(number).unwrap_or_default()
    }
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
