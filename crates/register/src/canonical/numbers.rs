//! Numbers that canonical JSON keeps. RFC 8785 writes every number as the shortest digits of its IEEE double, so a literal is kept
//! when those digits denote the same number. Fractions of 17 digits are how many programs print a double: such a literal is
//! kept, too, when the shortest digits are its own, rounded, as in the RFC's example. All others would be changed.

use std::{fmt, io};

use super::place::Place;

/// Literals that are no longer and have no exponent are exact: a double keeps 15 digits.
const PLAIN: usize = 15;
/// Digits that identify any double.
const MOST: usize = 17;
/// A longer literal is cut in messages.
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
    /// Where its literal begins.
    pub(super) const fn offset(&self) -> usize {
        self.place.offset()
    }
}

/// Finds the first number of a JSON text that canonical JSON would change. What is no JSON is left to the parser.
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

/// The place behind a string that begins here.
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

/// A string or a number begins, or what is no number, such as `.5`.
const fn is_of_interest(byte: u8) -> bool {
    matches!(byte, b'"' | b'0'..=b'9' | b'-' | b'+' | b'.')
}

const fn is_of_number(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')
}

fn is_plain(literal: &[u8]) -> bool {
    literal.len() <= PLAIN && !literal.iter().any(|byte| matches!(byte, b'e' | b'E'))
}

/// What a literal would become, unless it is kept or no number.
fn change(literal: &str) -> Option<String> {
    let written = Decimal::of(literal)?;
    let double: f64 = literal.parse().ok()?;
    if double.is_infinite() {
        return Some("is beyond the largest number".to_owned());
    }
    // Of two shortest forms that are equally near, programs choose differently: what counts is what will be written.
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
    /// How many there are; beyond [`MOST`] they are counted only.
    count: usize,
    point: i64,
}

impl Decimal {
    /// The number that a JSON literal denotes; none where it is no literal.
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

/// An exponent; one beyond all doubles stays beyond them.
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_kept(literal: &str) -> bool {
        check(format!("{{\"n\":{literal}}}").as_bytes()).is_ok()
    }

    #[test]
    fn what_a_double_keeps_is_kept_and_nothing_else() {
        for kept in [
            "0",
            "-0",
            "-0.0",
            "0e999999999",
            "0E-5",
            "0.000",
            "1",
            "1.0",
            "100",
            "1e2",
            "1E+2",
            "0.1",
            "-0.1",
            "4.50",
            "2e-3",
            "1E30",
            "0.000000000000000000000000001",
            "333333333.33333329",
            "9007199254740991",
            "9007199254740992",
            "9007199254740994",
            "-9007199254740992",
            "1e21",
            "1e308",
            "1.7976931348623157e308",
            "5e-324",
            "2.2250738585072014e-308",
            "0.10000000000000001",
            "0.30000000000000004",
            "8.3000000000000007",
            "18446744073709552000",
            "0.1000000000000000",
            "123456789012345.6",
            // In the middle between .2 and .3, of which the canonical form is the even one.
            "563000000000000.2",
            "563000000000000.25",
            "1.50000000000000000000000000000000000000",
        ] {
            assert!(is_kept(kept), "{kept}");
        }
        for changed in [
            "9007199254740993",
            "-9007199254740993",
            "9007199254740993.0",
            "9007199254740993e0",
            "900719925474099.3e1",
            "18446744073709551615",
            "18446744073709551617",
            "18446744073709551617.0",
            "1844674407370955161.7e1",
            "1e400",
            "1E400",
            "-1e400",
            "1e-400",
            "2e-324",
            "3e-324",
            "4.6e-324",
            "1.00000000000000000001",
            "0.12345678901234567",
            "10000000000000001",
            "10000000000000001.0",
            "1e999999999999999999999",
            "1e-999999999999999999999",
            "1.7976931348623159e308",
            "123456789012345678901234567890",
            "0.1234567890123456789",
            "1152921504606846977",
            "0.1000000000000000055511151231257827",
            "4503599627370497.3",
            "563000000000000.3",
            "563000000000.0003E3",
            "2.9999999999999999",
        ] {
            assert!(!is_kept(changed), "{changed}");
        }
        assert!(!is_kept(&"9".repeat(100_000)) && is_kept(&format!("1.{}", "0".repeat(100_000))));
        assert!(!is_kept(&format!("0.{}1", "0".repeat(100_000))), "it would become 0");
    }

    #[test]
    fn the_place_and_the_way_out_are_told() {
        let told = |json: &str| check(json.as_bytes()).unwrap_err().to_string();
        assert_eq!(
            told("{\"a\": [1, {\"b/c~\": \"9007199254740993\", \"d\":\n  9007199254740993}]}"),
            "the number 9007199254740993 at /a/1/d (line 2, column 3) would become 9007199254740992 in canonical JSON \
             (RFC 8785); write it as a string"
        );
        assert!(
            told("{\"b/c~\\u0041\":1e400}")
                .contains("1e400 at /b~1c~0A (line 1, column 15) is beyond the largest")
        );
        assert!(told("[1e-400]").contains("would become 0 "));
        let long = told(&format!("[{}]", "9".repeat(1000)));
        assert!(long.len() < 300 && long.contains('…'), "{long}");
    }

    #[test]
    fn what_is_in_strings_or_no_number_is_not_looked_at() {
        for json in [
            "[\"1e400\"]",
            r#"["\"",1,"\\","1e400"]"#,
            r#"{"1e400":1}"#,
            "[1e400e1]",
            "[1e]",
            "[.1e400]",
            "[-]",
            "[1.e400]",
            "\"1e400",
        ] {
            assert_eq!(check(json.as_bytes()), Ok(()), "{json}");
        }
    }

    /// Digits and a power of ten, worked out with nothing but text: (digits without zeros at the ends, place of the point).
    fn value_of(literal: &str) -> (String, i64) {
        let literal = literal.trim_start_matches('-').to_lowercase();
        let (mantissa, exponent) = literal.split_once('e').unwrap_or((&literal, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}");
        let exponent: i64 = exponent.parse().unwrap();
        let leading = digits.len() - digits.trim_start_matches('0').len();
        let digits = digits.trim_matches('0');
        if digits.is_empty() {
            return (String::new(), 0);
        }
        (digits.to_owned(), whole.len() as i64 + exponent - leading as i64)
    }

    fn literal() -> impl Strategy<Value = String> {
        let whole = prop_oneof![Just("0".to_owned()), "[1-9][0-9]{0,24}"];
        let fraction =
            prop_oneof![3 => Just(String::new()), 2 => "\\.[0-9]{1,24}", 1 => "\\.0{1,12}[0-9]{1,6}"];
        let exponent = prop_oneof![3 => Just(String::new()), 1 => "[eE][+-]?[0-9]{1,3}"];
        let doubles = any::<f64>().prop_filter("finite", |double| double.is_finite());
        let spelled = (doubles, 0..20usize, any::<bool>()).prop_map(|(double, digits, scientific)| {
            if scientific { format!("{double:.digits$e}") } else { double.to_string() }
        });
        let near = (any::<u64>(), "(\\.0)?").prop_map(|(number, end)| format!("{number}{end}"));
        let composed =
            (any::<bool>(), whole, fraction, exponent).prop_map(|(sign, whole, fraction, exponent)| {
                format!("{}{whole}{fraction}{exponent}", if sign { "-" } else { "" })
            });
        prop_oneof![composed, spelled, near]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 3000, ..ProptestConfig::default() })]

        #[test]
        fn a_number_keeps_its_value_or_is_refused(literal in literal()) {
            let json = format!("{{\"n\":{literal}}}");
            let document = super::super::Document::canonicalize(json.as_bytes());
            prop_assert_eq!(document.is_ok(), is_kept(&literal), "{}", literal);
            let Ok(document) = document else { return Ok(()) };
            let text = std::str::from_utf8(document.bytes()).unwrap();
            let kept = text.strip_prefix("{\"n\":").unwrap().strip_suffix('}').unwrap();
            let ((written, point), (now, point_now)) = (value_of(&literal), value_of(kept));
            if written == now {
                prop_assert_eq!(point, point_now, "{} became {}", literal, kept);
                let is_zero = now.is_empty();
                prop_assert!(is_zero || literal.starts_with('-') == kept.starts_with('-'), "{} became {}", literal, kept);
            } else {
                // The spelling of a double in 17 digits, of which the shortest is the rounding.
                prop_assert!(written.len() == 17 && now.len() < 17 && point_now < now.len() as i64, "{} became {}", literal, kept);
                let (long, short): (i128, i128) =
                    (written.parse().unwrap(), format!("{now:0<17}").parse().unwrap());
                let short = if point_now > point { short * 10 } else { short };
                prop_assert!((long - short).abs() <= 50, "{} became {}", literal, kept);
            }
        }
    }
}
