//! How texts are bounded that others write.

/// Longest free text of a node that is kept, characters.
pub const SAID: usize = 512;
/// Longest name or hash, characters.
pub const NAME: usize = 253;

/// A text of at most `most` characters; a longer one is cut, and ends in `…`.
#[must_use]
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => {
            let kept = text.char_indices().nth(most.saturating_sub(1)).map_or(0, |(end, _)| end);
            format!("{}…", &text[..kept])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äö…");
        assert_eq!(cut(&"日".repeat(5_000), 1_000).chars().count(), 1_000);
        assert_eq!((cut("", 0), cut("a", 1)), (String::new(), "a".to_owned()));
    }
}
