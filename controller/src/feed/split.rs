//! Takes lists and watches apart while they arrive, so that one object at a time is in memory; pure.
//!
//! Nothing here recurses: how deep a text is nested costs nothing. What the pieces mean is not looked at.

use std::mem;

use crate::json::Scan;

/// Longest object that is taken, bytes. The API server takes no request of more than 3 MB.
pub(super) const OBJECT_BYTES: usize = 8 * 1024 * 1024;
/// Longest rest of a list, without its items, bytes.
const ENVELOPE_BYTES: usize = 256 * 1024;

/// A piece of a list or watch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// An object's text.
    Whole(Vec<u8>),
    /// An object that is longer than [`OBJECT_BYTES`]; nothing of it is kept.
    TooLong,
}

/// The text is no list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoList;

/// Bytes of one piece, up to a limit.
#[derive(Default)]
struct Gathered {
    bytes: Vec<u8>,
    too_long: bool,
}

impl Gathered {
    fn add(&mut self, more: &[u8]) {
        self.too_long |= self.bytes.len() + more.len() > OBJECT_BYTES;
        if self.too_long {
            self.bytes = Vec::new();
        } else {
            self.bytes.extend_from_slice(more);
        }
    }

    fn take(&mut self) -> Piece {
        let Self { bytes, too_long } = mem::take(self);
        if too_long { Piece::TooLong } else { Piece::Whole(bytes) }
    }
}

/// Takes a list (`{"metadata": …, "items": […]}`) apart.
#[derive(Default)]
pub(super) struct List {
    scan: Scan,
    /// The list's own items are being read.
    items: bool,
    /// Last text on the first level: the key, when a list begins after it.
    key: Vec<u8>,
    item: Gathered,
    envelope: Vec<u8>,
}

impl List {
    /// Takes the next bytes; gives the items that are complete.
    ///
    /// # Errors
    /// [`NoList`] when what stands beside the items is too long for a list.
    pub(super) fn push(&mut self, mut bytes: &[u8], mut item: impl FnMut(Piece)) -> Result<(), NoList> {
        loop {
            let (before, was_string) = (self.scan.depth, self.scan.string);
            let (step, rest) = bytes.split_at(self.scan.step(bytes));
            bytes = rest;
            if step.is_empty() {
                return Ok(());
            }
            self.follow(step, was_string);
            match (self.items, before, self.scan.depth) {
                (true, 3.., 2) => {
                    self.item.add(step);
                    item(self.item.take());
                }
                (true, _, 3..) => self.item.add(step),
                // Between two items.
                (true, 2, _) => {}
                _ => self.envelope.extend_from_slice(step),
            }
            if self.envelope.len() > ENVELOPE_BYTES {
                return Err(NoList);
            }
        }
    }

    /// Whether the list's own items have begun or ended.
    fn follow(&mut self, step: &[u8], was_string: bool) {
        if self.scan.depth == 1 && self.scan.string {
            if !was_string {
                self.key.clear();
            } else if self.key.len() < 16 {
                self.key.extend(step.iter().take(16));
            }
        }
        self.items = match (self.items, self.scan.depth) {
            (true, depth) => depth >= 2,
            (false, 2) => step == b"[" && !was_string && self.key == b"items",
            (false, _) => false,
        };
    }

    /// What stood beside the items, as a list without any.
    ///
    /// # Errors
    /// [`NoList`] when the text has not ended.
    pub(super) fn finish(self) -> Result<Vec<u8>, NoList> {
        let ended = self.scan.depth == 0 && !self.scan.string && !self.envelope.is_empty();
        if ended { Ok(self.envelope) } else { Err(NoList) }
    }
}

/// Takes a watch apart: one event a line.
#[derive(Default)]
pub(super) struct Lines(Gathered);

impl Lines {
    /// Takes the next bytes; gives the lines that are complete.
    pub(super) fn push(&mut self, mut bytes: &[u8], mut line: impl FnMut(Piece)) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            self.0.add(&bytes[..end]);
            bytes = &bytes[end + 1..];
            match self.0.take() {
                Piece::Whole(text) if text.iter().all(u8::is_ascii_whitespace) => {}
                piece => line(piece),
            }
        }
        self.0.add(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Items and rest, taken in chunks of a size.
    fn split(text: &[u8], chunk: usize) -> (Vec<String>, Result<String, NoList>) {
        let (mut list, mut items) = (List::default(), Vec::new());
        for chunk in text.chunks(chunk) {
            let pushed = list.push(chunk, |piece| match piece {
                Piece::Whole(bytes) => items.push(String::from_utf8(bytes).unwrap()),
                Piece::TooLong => items.push("too long".into()),
            });
            if pushed.is_err() {
                return (items, Err(NoList));
            }
        }
        (items, list.finish().map(|rest| String::from_utf8(rest).unwrap()))
    }

    #[test]
    fn a_list_comes_apart_wherever_it_is_cut() {
        let text = r#" {"kind": "items", "metadata": {"items": [{"no": 1}], "a": "]}\""},
            "items" : [ {"a": "}]\\", "items": [[{}]]} , {"b": {"items": [2]}},null, {} ], "z": ["items", {"c": []}]} "#;
        for chunk in 1..=text.len() {
            let (items, rest) = split(text.as_bytes(), chunk);
            assert_eq!(
                items,
                [r#"{"a": "}]\\", "items": [[{}]]}"#, r#"{"b": {"items": [2]}}"#, "{}"],
                "{chunk}"
            );
            let rest: serde_json::Value = serde_json::from_str(&rest.unwrap()).unwrap();
            assert_eq!(rest["items"], serde_json::json!([]), "{rest}");
            assert_eq!(rest["metadata"]["items"][0]["no"], 1, "{rest}");
            assert_eq!(rest["z"][1]["c"], serde_json::json!([]), "{rest}");
        }
    }

    #[test]
    fn what_is_cut_off_or_no_list_is_told() {
        for text in ["", "{", r#"{"items": [{}"#, r#"{"items": [{}]"#, r#"{"a": ""#] {
            assert_eq!(split(text.as_bytes(), 4).1, Err(NoList), "{text}");
        }
        let page = vec![b'<'; ENVELOPE_BYTES + 1];
        assert_eq!(split(&page, 4096).1, Err(NoList));
    }

    #[test]
    fn an_object_that_is_too_long_is_passed_over() {
        let long = format!(r#"{{"items": [{{"a": "{}"}}, {{"b": 1}}]}}"#, "x".repeat(OBJECT_BYTES));
        assert_eq!(split(long.as_bytes(), 64 * 1024).0, ["too long", r#"{"b": 1}"#]);
        let deep =
            format!(r#"{{"items": [{}{}, {{"b": 1}}]}}"#, "{\"a\":".repeat(100_000), "}".repeat(100_000));
        assert_eq!(split(deep.as_bytes(), 1000).0.len(), 2, "depth costs nothing");
    }

    #[test]
    fn lines_come_whole() {
        let (mut lines, mut seen) = (Lines::default(), Vec::new());
        for chunk in [&b"{\"a\""[..], b": 1}\n\n  \n{", b"}", b"\n{\"cut"] {
            lines.push(chunk, |piece| seen.push(piece));
        }
        assert_eq!(seen, [Piece::Whole(b"{\"a\": 1}".to_vec()), Piece::Whole(b"{}".to_vec())]);
    }
}
