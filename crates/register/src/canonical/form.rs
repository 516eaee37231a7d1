//! Canonical JSON (RFC 8785), written member by member while the text is parsed. A tree of the document would take many times
//! its size.

use std::{cmp::Ordering, fmt, io::Write};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::InvalidDocument;

/// Longest key in a message, characters.
const SHOWN_CHARS: usize = 100;

/// The canonical form of one JSON value, if it has no more than `limit` bytes.
///
/// # Errors
/// [`InvalidDocument`] when it is not JSON, has a key twice or with a NUL character, or is too large.
pub(super) fn write(json: &[u8], limit: usize) -> Result<Vec<u8>, InvalidDocument> {
    let mut form = Form { out: Vec::with_capacity(json.len().min(limit)), limit, dropped: 0 };
    let mut reader = serde_json::Deserializer::from_slice(json);
    WriteValue(&mut form)
        .deserialize(&mut reader)
        .and_then(|()| reader.end())
        .map_err(InvalidDocument::Syntax)?;
    match form.dropped {
        0 => Ok(form.out),
        dropped => Err(InvalidDocument::TooLarge { actual: dropped + form.out.len() }),
    }
}

/// A key as a message shows it.
fn shown(key: &str) -> String {
    let mut shown: String = key.chars().take(SHOWN_CHARS).collect();
    if shown.len() < key.len() {
        shown.push('…');
    }
    shown
}

struct Form {
    out: Vec<u8>,
    limit: usize,
    /// Bytes beyond the limit, counted and not kept.
    dropped: usize,
}

impl Form {
    fn put(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
        self.settle();
    }

    fn settle(&mut self) {
        if self.dropped > 0 || self.out.len() > self.limit {
            self.dropped += self.out.len();
            self.out.clear();
        }
    }

    fn text<E: Error>(&mut self, text: &str) -> Result<(), E> {
        serde_json::to_writer(&mut self.out, text).map_err(E::custom)?;
        self.settle();
        Ok(())
    }

    fn number<E: Error>(&mut self, number: f64) -> Result<(), E> {
        serde_json_canonicalizer::to_writer(&number, &mut self.out).map_err(E::custom)?;
        self.settle();
        Ok(())
    }

    /// Brings the members of an object, which begins at `start`, into their order.
    fn sort<E: Error>(&mut self, start: usize, mut members: Vec<Member>) -> Result<(), E> {
        let out = &self.out;
        let order = |a: &Member, b: &Member| compare(a.key(out), b.key(out));
        if members.is_sorted_by(|a, b| order(a, b).is_lt()) {
            return Ok(());
        }
        members.sort_unstable_by(order);
        if let Some([twice, _]) = members.array_windows().find(|[a, b]| order(a, b).is_eq()) {
            let key: String = serde_json::from_slice(twice.key(out)).map_err(E::custom)?;
            return Err(E::custom(format_args!("the key {:?} appears twice in one object", shown(&key))));
        }
        let mut sorted = Vec::with_capacity(out.len() - start);
        for member in members {
            if !sorted.is_empty() {
                sorted.push(b',');
            }
            sorted.extend_from_slice(&out[member.begin..member.end]);
        }
        self.out.truncate(start);
        self.out.write_all(&sorted).map_err(E::custom)
    }
}

/// A member of an object that was written: `"key":value`.
#[derive(Clone, Copy)]
struct Member {
    begin: usize,
    key_end: usize,
    end: usize,
}

impl Member {
    fn key<'o>(&self, out: &'o [u8]) -> &'o [u8] {
        &out[self.begin..self.key_end]
    }
}

/// The order of RFC 8785: by UTF-16 code units, without escapes.
fn compare(a: &[u8], b: &[u8]) -> Ordering {
    // For ASCII without escapes, bytes have the same order.
    let is_plain = |key: &[u8]| key.is_ascii() && !key.contains(&b'\\');
    if is_plain(a) && is_plain(b) {
        return a[..a.len() - 1].cmp(&b[..b.len() - 1]);
    }
    let text = |key: &[u8]| serde_json::from_slice::<String>(key).unwrap_or_default();
    text(a).encode_utf16().cmp(text(b).encode_utf16())
}

/// Writes the value that is read.
struct WriteValue<'f>(&'f mut Form);

impl<'de> DeserializeSeed<'de> for WriteValue<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for WriteValue<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.0.put(if value { b"true" } else { b"false" });
        Ok(())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.0.number(number as f64)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.0.number(number as f64)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        self.0.number(number)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.0.text(text)
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.put(b"null");
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.0.put(b"[");
        let mut comma = Comma::default();
        while items.next_element_seed(WriteItem(&mut comma, self.0))?.is_some() {}
        self.0.put(b"]");
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let Self(form) = self;
        form.put(b"{");
        let (start, mut comma, mut members) = (form.out.len(), Comma::default(), Vec::new());
        loop {
            let Some((begin, key_end)) = entries.next_key_seed(WriteKey(&mut comma, form))? else { break };
            form.put(b":");
            entries.next_value_seed(WriteValue(form))?;
            if form.dropped == 0 {
                members.push(Member { begin, key_end, end: form.out.len() });
            }
        }
        // A document that is too large is refused anyway.
        if form.dropped == 0 {
            form.sort(start, members)?;
        }
        form.put(b"}");
        Ok(())
    }
}

/// Separates parts.
#[derive(Default)]
struct Comma(bool);

impl Comma {
    fn put(&mut self, form: &mut Form) {
        if std::mem::replace(&mut self.0, true) {
            form.put(b",");
        }
    }
}

struct WriteItem<'c, 'f>(&'c mut Comma, &'f mut Form);

impl<'de> DeserializeSeed<'de> for WriteItem<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.0.put(self.1);
        deserializer.deserialize_any(WriteValue(self.1))
    }
}

/// Writes a key and returns where it begins and ends.
struct WriteKey<'c, 'f>(&'c mut Comma, &'f mut Form);

impl<'de> DeserializeSeed<'de> for WriteKey<'_, '_> {
    type Value = (usize, usize);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(usize, usize), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for WriteKey<'_, '_> {
    type Value = (usize, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<(usize, usize), E> {
        let Self(comma, form) = self;
        if key.contains('\0') {
            return Err(E::custom(format_args!("the key {:?} holds a NUL character", shown(key))));
        }
        comma.put(form);
        let begin = form.out.len();
        form.text(key)?;
        Ok((begin, form.out.len()))
    }
}

#[cfg(test)]
mod tests;
