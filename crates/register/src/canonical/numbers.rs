//! Finds numbers that canonical JSON would change. RFC 8785 writes every number as the shortest digits of its IEEE double; a
//! literal is kept when those digits denote the same number. Many programs print a double as a fraction of 17 digits: such a
//! literal is kept, too, when its digits round to the shortest ones, as in the RFC's example.

use std::{fmt, io};

use super::place::Place;

/// Literals of up to this length without an exponent are exact: a double keeps 15 digits.
const PLAIN: usize = 15;
/// Digits that identify any double.
const MOST: usize = 17;
/// Longest literal in a message, characters.
const SHOWN: usize = 40;

/// A number that canonical JSON would change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inexact {
    literal: String,
    becomes: String,
    place: Place,
}

impl fmt::Display for Inexact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { literal, becomes, place } = self;
        write!(
            f,
            "the number {literal} at {place} {becomes} in canonical JSON (RFC 8785); write it as a string"
        )
    }
}

impl Inexact {
    /// Offset of the literal.
    pub(super) const fn offset(&self) -> usize {
        self.place.offset()
    }
}

/// Finds the first number of a JSON text that canonical JSON would change. Syntax errors are left to the parser.
pub(super) fn check(json: &[u8]) -> Result<(), Inexact> {
    let mut at = 0;
    while let Some(next) = json[at..].iter().position(|byte| is_of_interest(*byte)) {
        at += next;
        if json[at] == b'"' {
            at = end_of_string(json, at);
            continue;
        }
        let length = json[at..].iter().take_while(|byte| is_of_number(**byte)).count();
        let literal = &json[at..at + length];
        if !is_plain(literal)
            && let Ok(literal) = std::str::from_utf8(literal)
            && let Some(becomes) = change(literal)
        {
            let shown =
                if literal.len() > SHOWN { format!("{}…", &literal[..SHOWN]) } else { literal.to_owned() };
            return Err(Inexact { literal: shown, becomes, place: Place::of(json, at) });
        }
        at += length;
    }
    Ok(())
}

/// The offset behind a string that begins at `start`.
pub(super) fn end_of_string(json: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(next) = json.get(at..).and_then(|rest| rest.iter().position(|b| matches!(b, b'"' | b'\\')))
    {
        at += next;
        if json[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    json.len()
}

/// The first byte of a string, a number, or a malformed number such as `.5`.
const fn is_of_interest(byte: u8) -> bool {
    matches!(byte, b'"' | b'0'..=b'9' | b'-' | b'+' | b'.')
}

const fn is_of_number(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')
}

fn is_plain(literal: &[u8]) -> bool {
    literal.len() <= PLAIN && !literal.iter().any(|byte| matches!(byte, b'e' | b'E'))
}

/// The change to a literal; `None` where it is kept or malformed.
fn change(literal: &str) -> Option<String> {
    let written = Decimal::of(literal)?;
    let double: f64 = literal.parse().ok()?;
    if double.is_infinite() {
        return Some("is beyond the largest number".to_owned());
    }
    // Of two shortest forms that are equally near, programs choose differently: ask the writer itself.
    let mut shortest = Shortest::default();
    serde_json_canonicalizer::to_writer(&double, &mut shortest).ok()?;
    let kept = Decimal::of(shortest.text()?)?;
    if written == kept || written.is_a_fraction_of_17_digits_that_rounds_to(&kept) {
        return None;
    }
    Some(format!("would become {}", shortest.text()?))
}

/// The canonical form of one double, on the stack: documents may hold a million numbers.
#[derive(Default)]
struct Shortest {
    bytes: [u8; 32],
    length: usize,
}

impl Shortest {
    fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.bytes.get(..self.length)?).ok()
    }
}

impl io::Write for Shortest {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let end = self.length + text.len();
        let room = self.bytes.get_mut(self.length..end).ok_or(io::ErrorKind::WriteZero)?;
        room.copy_from_slice(text);
        self.length = end;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A number without its sign: 0.DIGITS × 10^point, where the first and the last digit are not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Decimal {
    digits: [u8; MOST],
    /// Number of digits; those beyond [`MOST`] are counted and not kept.
    count: usize,
    point: i64,
}

impl Decimal {
    /// The value of a JSON literal; `None` where it is malformed.
    fn of(literal: &str) -> Option<Self> {
        let unsigned = literal.strip_prefix('-').unwrap_or(literal);
        let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) || mantissa.ends_with('.') {
            return None;
        }
        let point = i64::try_from(whole.len()).ok()?.checked_add(exponent_of(exponent)?)?;
        let mut number = Self { digits: [0; MOST], count: 0, point };
        let mut zeros = 0;
        for digit in whole.bytes().chain(fraction.bytes()) {
            match digit {
                b'0' if number.count == 0 => number.point -= 1,
                b'0' => zeros += 1,
                _ => {
                    number.count += zeros;
                    zeros = 0;
                    if let Some(place) = number.digits.get_mut(number.count) {
                        *place = digit - b'0';
                    }
                    number.count += 1;
                }
            }
        }
        if number.count == 0 {
            number.point = 0;
        }
        Some(number)
    }

    fn is_a_fraction_of_17_digits_that_rounds_to(&self, kept: &Self) -> bool {
        // A double without a fraction is never printed with one.
        let has_fraction = kept.point < i64::try_from(kept.count).unwrap_or(i64::MAX);
        self.count == MOST
            && has_fraction
            && (self.rounded(MOST - 2, self.digits[MOST - 2] >= 5) == *kept
                || self.rounded(MOST - 1, self.digits[MOST - 1] >= 5) == *kept
                // In the middle between two.
                || (self.digits[MOST - 1] == 5 && self.rounded(MOST - 1, false) == *kept))
    }

    /// The same with fewer digits.
    fn rounded(mut self, digits: usize, up: bool) -> Self {
        self.digits[digits..].fill(0);
        self.count = digits;
        if up {
            let nines = self.digits[..digits].iter().rev().take_while(|digit| **digit == 9).count();
            self.digits[digits - nines..digits].fill(0);
            match (digits - nines).checked_sub(1) {
                Some(place) => self.digits[place] += 1,
                None => (self.digits[0], self.point) = (1, self.point + 1),
            }
        }
        let zeros = self.digits[..digits].iter().rev().take_while(|digit| **digit == 0).count();
        Self { count: digits - zeros, ..self }
    }
}

/// An exponent; one beyond all doubles is clamped to a value that still is.
fn exponent_of(text: &str) -> Option<i64> {
    const FAR: i64 = 1_000_000_000_000_000;
    let (is_negative, digits) = match text.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        all => (false, all),
    };
    let add =
        |sum: i64, digit: &u8| digit.is_ascii_digit().then(|| (sum * 10 + i64::from(digit - b'0')).min(FAR));
    let size = digits.iter().try_fold(0, add).filter(|_| !digits.is_empty())?;
    Some(if is_negative { -size } else { size })
}

#[cfg(test)]
mod tests;
