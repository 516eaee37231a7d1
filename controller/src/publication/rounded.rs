//! Numbers of a document that the API server may have rounded; pure.
//!
//! The document is read as it stands and never as a tree of values.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use sorcha_crds::text::cut;

/// From here on not every integer is a double.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// Longest part of a pointer that is told, characters: a key may be as long as a document.
const KEY_CHARS: usize = 64;
/// Longest pointer that is told, characters.
const POINTER_CHARS: usize = 256;

/// The first number that may have been rounded without leaving a trace, 2^53 or more and exact as a double, with its JSON
/// pointer. A central node refuses others of this size. A text that is no JSON has none.
pub(super) fn rounded(text: &str) -> Option<(String, String)> {
    let mut search = Search::default();
    let mut reader = serde_json::Deserializer::from_str(text);
    SearchStep(&mut search).deserialize(&mut reader).ok();
    let part = |key: &String| format!("/{}", cut(key, KEY_CHARS).replace('~', "~0").replace('/', "~1"));
    let pointer: String = search.path.iter().map(part).collect();
    search.found.map(|number| (cut(&pointer, POINTER_CHARS), number.to_string()))
}

/// Where the search is; once a number is found it stays there.
#[derive(Default)]
struct Search {
    path: Vec<String>,
    found: Option<Number>,
}

struct SearchStep<'a>(&'a mut Search);

impl SearchStep<'_> {
    fn number(self, number: Number) {
        let is_large = number.as_f64().is_some_and(|double| double.abs() >= EXACT);
        let is_kept =
            || serde_json_canonicalizer::to_string(&number).is_ok_and(|text| text == number.to_string());
        if self.0.found.is_none() && is_large && (number.is_f64() || is_kept()) {
            self.0.found = Some(number);
        }
    }
}

impl<'de> DeserializeSeed<'de> for SearchStep<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for SearchStep<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.number(value.into());
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.number(value.into());
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        if let Some(number) = Number::from_f64(value) {
            self.number(number);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        for place in 0_usize.. {
            self.0.path.push(place.to_string());
            if list.next_element_seed(SearchStep(self.0))?.is_none() {
                self.0.path.pop();
                break;
            }
            if self.0.found.is_some() {
                while list.next_element::<serde::de::IgnoredAny>()?.is_some() {}
                break;
            }
            self.0.path.pop();
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            self.0.path.push(key);
            map.next_value_seed(SearchStep(self.0))?;
            if self.0.found.is_some() {
                while map.next_entry::<serde::de::IgnoredAny, serde::de::IgnoredAny>()?.is_some() {}
                break;
            }
            self.0.path.pop();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_short_however_long_the_keys_are() {
        let key = "k".repeat(400_000);
        let deep = format!("{}1e300{}", "{\"abcdefgh\":".repeat(100), "}".repeat(100));
        for text in [format!("{{\"{key}\": 1e300}}"), deep] {
            let (pointer, _) = rounded(&text).expect("a number that may be rounded");
            assert!(
                pointer.starts_with('/') && pointer.chars().count() <= POINTER_CHARS,
                "{}",
                pointer.len()
            );
        }
    }
}
