//! Places in a JSON text, for messages: a JSON pointer (RFC 6901), line and column.

use std::fmt;

use super::numbers::end_of_string;

/// Longest pointer in a message, characters; the beginning of a longer one is left out.
const SHOWN: usize = 200;

/// A place in a JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pointer: String,
    line: usize,
    column: usize,
    offset: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pointer, line, column, .. } = self;
        write!(f, "{pointer} (line {line}, column {column})")
    }
}

/// A list or object around the place.
enum Around<'j> {
    List(usize),
    Object(Option<&'j [u8]>),
}

impl Place {
    /// The place of the value that begins at `offset`.
    pub(super) fn of(json: &[u8], offset: usize) -> Self {
        let before = json.get(..offset).unwrap_or(json);
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        Self {
            pointer: pointer(before),
            line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
            column: before.len() - line_start + 1,
            offset,
        }
    }

    pub(super) const fn offset(&self) -> usize {
        self.offset
    }
}

fn pointer(before: &[u8]) -> String {
    let mut around = Vec::new();
    let mut at = 0;
    while let Some(byte) = before.get(at) {
        let mut next = at + 1;
        match (byte, around.last_mut()) {
            (b'{', _) => around.push(Around::Object(None)),
            (b'[', _) => around.push(Around::List(0)),
            (b'}' | b']', _) => drop(around.pop()),
            (b',', Some(Around::List(number))) => *number += 1,
            (b',', Some(Around::Object(key))) => *key = None,
            (b'"', inner) => {
                next = end_of_string(before, at);
                if let Some(Around::Object(key @ None)) = inner {
                    *key = before.get(at..next);
                }
            }
            _ => {}
        }
        at = next;
    }
    shown(around.iter().map(step).collect())
}

fn step(around: &Around<'_>) -> String {
    match around {
        Around::List(number) => format!("/{number}"),
        Around::Object(key) => {
            let key: String = key.and_then(|key| serde_json::from_slice(key).ok()).unwrap_or_default();
            let key: String = key.chars().flat_map(char::escape_debug).collect();
            format!("/{}", key.replace('~', "~0").replace('/', "~1"))
        }
    }
}

fn shown(pointer: String) -> String {
    let length = pointer.chars().count();
    if length <= SHOWN {
        return pointer;
    }
    let end: String = pointer.chars().skip(length - SHOWN).collect();
    format!("…{end}")
}
