//! JSON while it arrives: where strings and levels begin and end, and nothing else. Nothing here recurses.

/// Longest text that [`Shallow`] keeps, bytes.
const SHALLOW_BYTES: usize = 256 * 1024;

/// Where in a text a reader is.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Objects and lists that have begun and not ended.
    pub(crate) depth: usize,
    /// Inside a string; at its closing quote not any more.
    pub(crate) string: bool,
    escaped: bool,
}

impl Scan {
    /// Takes one step: one character, or plain text inside a string. Tells its length; 0 at the end.
    pub(crate) fn step(&mut self, bytes: &[u8]) -> usize {
        let Some(&character) = bytes.first() else { return 0 };
        if self.string && !self.escaped && character != b'"' && character != b'\\' {
            return memchr::memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len());
        }
        match character {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.string => self.escaped = true,
            b'"' => self.string = !self.string,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        1
    }
}

/// An object's own fields: objects and lists among their values are left out as `null`, however long they are.
#[derive(Debug, Default)]
pub(crate) struct Shallow {
    scan: Scan,
    kept: Vec<u8>,
}

/// The text is too long, or has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotShallow;

impl Shallow {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`NotShallow`] when the fields are too long.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Result<(), NotShallow> {
        loop {
            let before = self.scan.depth;
            let (step, rest) = bytes.split_at(self.scan.step(bytes));
            bytes = rest;
            match (before, self.scan.depth) {
                _ if step.is_empty() => return Ok(()),
                (1, 2) => self.kept.extend_from_slice(b"null"),
                (2.., _) => {}
                _ => self.kept.extend_from_slice(step),
            }
            if self.kept.len() > SHALLOW_BYTES {
                return Err(NotShallow);
            }
        }
    }

    /// What is left of the object.
    ///
    /// # Errors
    /// [`NotShallow`] when it has not ended.
    pub(crate) fn finish(self) -> Result<Vec<u8>, NotShallow> {
        if self.scan.depth == 0 && !self.scan.string { Ok(self.kept) } else { Err(NotShallow) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_values_are_left_out_wherever_the_text_is_cut() {
        let text = r#"{"a": 1, "b": {"c": ["}]\"", {}]}, "d": "{[\\", "e": [[]], "f": null}"#;
        for chunk in 1..=text.len() {
            let mut shallow = Shallow::default();
            text.as_bytes().chunks(chunk).for_each(|chunk| shallow.push(chunk).unwrap());
            let kept: serde_json::Value = serde_json::from_slice(&shallow.finish().unwrap()).unwrap();
            assert_eq!(kept, serde_json::json!({"a": 1, "b": null, "d": "{[\\", "e": null, "f": null}));
        }
        let mut broken = Shallow::default();
        broken.push(b"{\"a\": {}").unwrap();
        assert_eq!(broken.finish(), Err(NotShallow));
        assert_eq!(Shallow::default().push(&vec![b' '; SHALLOW_BYTES + 1]), Err(NotShallow));
    }
}
