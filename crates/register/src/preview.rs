//! The preview of a document that a push notice carries (protocol section 6.6, U10).

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::limits;

/// The members of a preview in canonical order, as slices of the document: large members are not parsed into values.
#[derive(Deserialize)]
struct Members<'d> {
    #[serde(borrow)]
    description: Option<&'d RawValue>,
    #[serde(borrow)]
    id: Option<&'d RawValue>,
    #[serde(borrow)]
    name: Option<&'d RawValue>,
    #[serde(borrow)]
    version: Option<&'d RawValue>,
}

/// A document's id, name, version and description, without the description or empty above 4 KB; empty for other JSON.
pub(super) fn of(document: &[u8]) -> Bytes {
    let Ok(Members { description, id, name, version }) = serde_json::from_slice(document) else {
        return Bytes::new();
    };
    let rest = [("id", id), ("name", name), ("version", version)];
    let with = |description| std::iter::once(("description", description)).chain(rest);
    fitting(with(description)).or_else(|| fitting(with(None))).unwrap_or_default()
}

/// A JSON object of the members that are present, if it has at most 4 KB.
fn fitting<'d>(members: impl Iterator<Item = (&'static str, Option<&'d RawValue>)>) -> Option<Bytes> {
    let mut json = String::from("{");
    for (name, value) in members {
        let Some(value) = value.map(RawValue::get).filter(|value| value.len() <= limits::SUMMARY_BYTES)
        else {
            continue;
        };
        let separator = if json.len() > 1 { "," } else { "" };
        json.extend([separator, "\"", name, "\":", value]);
    }
    json.push('}');
    (json.len() <= limits::SUMMARY_BYTES).then(|| json.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_has_what_fits_into_4_kb_as_it_stands_in_the_document() {
        let with = |description: usize| {
            let description = "x".repeat(description);
            of(format!(r#"{{"actions":[1],"description":"{description}","id":"a","name":"A"}}"#).as_bytes())
        };
        assert_eq!(with(3), r#"{"description":"xxx","id":"a","name":"A"}"#);
        assert_eq!(with(5000), r#"{"id":"a","name":"A"}"#, "the description alone is too large");
        assert_eq!(with(limits::SUMMARY_BYTES - 10), r#"{"id":"a","name":"A"}"#, "all together are");
        let odd = br#"{"description":null,"id":{"a":[]},"version":1.5,"x":{"name":"inner"}}"#;
        assert_eq!(of(odd), r#"{"id":{"a":[]},"version":1.5}"#);
        let large = format!(r#"{{"id":"{0}","name":"{0}","version":"1"}}"#, "y".repeat(3000));
        assert!(of(large.as_bytes()).is_empty());
        assert_eq!([of(b"{}"), of(b"[]"), of(b"no JSON")], ["{}", "", ""]);
    }

    /// A tree of such a document would have 8 million values.
    #[test]
    fn a_preview_makes_nothing_of_a_large_member() {
        let document = format!(r#"{{"description":[{}0],"id":"a"}}"#, "0,".repeat(8_000_000));
        let began = std::time::Instant::now();
        assert_eq!(of(document.as_bytes()), r#"{"id":"a"}"#);
        println!("{:?}", began.elapsed());
    }
}
