//! Writes JSON in the form of RFC 8785, member by member as it is read: no tree of the document is built, which would take many
//! times its size.

use std::{cmp::Ordering, fmt, io::Write};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::InvalidDocument;

/// Longest key in a message, characters.
const SHOWN_CHARS: usize = 100;

/// The canonical form of one JSON value, if it has no more than `limit` bytes.
///
/// # Errors
/// [`InvalidDocument`] when it is not JSON, has a key twice, or is too large.
pub(super) fn write(json: &[u8], limit: usize) -> Result<Vec<u8>, InvalidDocument> {
    let mut form = Form { out: Vec::with_capacity(json.len().min(limit)), limit, dropped: 0 };
    let mut reader = serde_json::Deserializer::from_slice(json);
    Value(&mut form).deserialize(&mut reader).and_then(|()| reader.end()).map_err(InvalidDocument::Syntax)?;
    match form.dropped {
        0 => Ok(form.out),
        dropped => Err(InvalidDocument::TooLarge { actual: dropped + form.out.len() }),
    }
}

/// A key as a message shows it.
pub(super) fn shown(key: &str) -> String {
    let mut shown: String = key.chars().take(SHOWN_CHARS).collect();
    if shown.len() < key.len() {
        shown.push('…');
    }
    shown
}

struct Form {
    out: Vec<u8>,
    limit: usize,
    /// Bytes that were written beyond the limit and not kept: they are only counted.
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

/// Compares keys as RFC 8785 does: by their UTF-16 code units, without escapes.
fn compare(a: &[u8], b: &[u8]) -> Ordering {
    // Where both have nothing but ASCII without escapes, bytes have the same order.
    let is_plain = |key: &[u8]| key.is_ascii() && !key.contains(&b'\\');
    if is_plain(a) && is_plain(b) {
        return a[..a.len() - 1].cmp(&b[..b.len() - 1]);
    }
    let text = |key: &[u8]| serde_json::from_slice::<String>(key).unwrap_or_default();
    text(a).encode_utf16().cmp(text(b).encode_utf16())
}

/// Writes the value that is read.
struct Value<'f>(&'f mut Form);

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
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
        while items.next_element_seed(Item(&mut comma, self.0))?.is_some() {}
        self.0.put(b"]");
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let Self(form) = self;
        form.put(b"{");
        let (start, mut comma, mut members) = (form.out.len(), Comma::default(), Vec::new());
        loop {
            let Some((begin, key_end)) = entries.next_key_seed(Key(&mut comma, form))? else { break };
            form.put(b":");
            entries.next_value_seed(Value(form))?;
            if form.dropped == 0 {
                members.push(Member { begin, key_end, end: form.out.len() });
            }
        }
        // What is too large is refused, in whatever order.
        if form.dropped == 0 {
            form.sort(start, members)?;
        }
        form.put(b"}");
        Ok(())
    }
}

/// Stands before every part but the first.
#[derive(Default)]
struct Comma(bool);

impl Comma {
    fn put(&mut self, form: &mut Form) {
        if std::mem::replace(&mut self.0, true) {
            form.put(b",");
        }
    }
}

struct Item<'c, 'f>(&'c mut Comma, &'f mut Form);

impl<'de> DeserializeSeed<'de> for Item<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.0.put(self.1);
        deserializer.deserialize_any(Value(self.1))
    }
}

/// Writes a key; where it begins and ends.
struct Key<'c, 'f>(&'c mut Comma, &'f mut Form);

impl<'de> DeserializeSeed<'de> for Key<'_, '_> {
    type Value = (usize, usize);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(usize, usize), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_, '_> {
    type Value = (usize, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<(usize, usize), E> {
        let Self(comma, form) = self;
        comma.put(form);
        let begin = form.out.len();
        form.text(key)?;
        Ok((begin, form.out.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What another implementation makes of it.
    fn expected(json: &str) -> String {
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        serde_json_canonicalizer::to_string(&value).unwrap()
    }

    fn written(json: &str) -> String {
        String::from_utf8(write(json.as_bytes(), 1 << 20).unwrap()).unwrap()
    }

    #[test]
    fn it_is_what_another_implementation_writes() {
        for json in [
            r#" { "b" : 1.0, "a" : [ true , null, {"z":{},"y":[]} ], "€": 1e2 } "#,
            "{\"\u{fb33}\":1,\"\u{1F600}\":2,\"a\\\"b\":3,\"a\\nb\":4,\"a\":5,\"aa\":6,\"\":7,\"a!\":8}",
            r#"{"n":[333333333.33333329,-0.0,1e30,4.5e-7,9007199254740991,1152921504606846976]}"#,
            r#"{"s":"\u0001\u007f\/é\ud83d\ude00\b\f\n\r\t"}"#,
            r#"[{"b":{"d":1,"c":{"f":[],"e":0}},"a":{}},[],"x"]"#,
            r#"{"\u0061":1,"A":2,"\\":3,"[":4}"#,
        ] {
            assert_eq!(written(json), expected(json));
        }
    }

    #[test]
    fn a_key_that_is_there_twice_is_refused_wherever_it_stands() {
        for json in [r#"{"a":1,"b":2,"a":3}"#, r#"{"b":1,"a":{"x":1,"\u0078":2}}"#, r#"{"a":1,"a":1}"#] {
            assert!(write(json.as_bytes(), 100).unwrap_err().to_string().contains("appears twice"), "{json}");
        }
        let long = "k".repeat(100_000);
        let told =
            write(format!(r#"{{"{long}":1,"{long}":2}}"#).as_bytes(), 1 << 20).unwrap_err().to_string();
        assert!(told.len() < 300, "{} bytes", told.len());
    }

    #[test]
    fn what_is_too_large_is_counted_and_not_kept() {
        let json = format!(r#"{{"b":[{}0],"a":"{}"}}"#, "0,".repeat(5000), "x".repeat(3000));
        let size = expected(&json).len();
        assert_eq!(write(json.as_bytes(), size).unwrap().len(), size);
        match write(json.as_bytes(), size - 1).unwrap_err() {
            InvalidDocument::TooLarge { actual } => assert_eq!(actual, size),
            other => panic!("{other}"),
        }
        match write(json.as_bytes(), 10).unwrap_err() {
            InvalidDocument::TooLarge { actual } => assert_eq!(actual, size),
            other => panic!("{other}"),
        }
    }

    proptest::proptest! {
        #[test]
        fn any_object_is_what_another_implementation_writes(
            members in proptest::collection::hash_map("[a-c\"\\\\\u{1}\u{fb33}\u{1F600}]{0,3}", "\\PC{0,4}", 0..8),
            numbers in proptest::collection::vec(proptest::num::f64::NORMAL, 0..4),
        ) {
            let json = serde_json::json!({ "members": members, "numbers": numbers }).to_string();
            proptest::prop_assert_eq!(written(&json), expected(&json));
        }
    }
}
