//! Texts of a central node, as they get into logs, health and status: it decides what they say, and not how much there is of it.

use sorcha_register::limits::ACK_MESSAGE_CHARS;

/// The largest answer to a call that brings no entries, bytes; those that the contract knows are smaller by far.
pub(super) const ANSWER_BYTES: usize = 256 * 1024;

/// A text on one line, cut where it is longer than any that the contract knows.
pub(super) fn told(text: &str) -> String {
    let mut chars = text.chars();
    let mut told: String = chars.by_ref().take(ACK_MESSAGE_CHARS).map(visible).collect();
    if chars.next().is_some() {
        told.push('…');
    }
    told
}

/// A space for what ends a line, moves a terminal's cursor or turns the direction of what follows.
fn visible(char: char) -> char {
    match char {
        '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => ' ',
        char if char.is_control() => ' ',
        char => char,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_4_mb_is_cut_and_stays_on_its_line() {
        assert_eq!(told("all is well: café"), "all is well: café");
        assert_eq!(told("a\nb\u{1b}[2Jc\u{202e}d\u{85}"), "a b [2Jc d ");
        let cut = told(&"é".repeat(2 << 20));
        assert_eq!((cut.chars().count(), cut.ends_with('…')), (ACK_MESSAGE_CHARS + 1, true));
    }
}
