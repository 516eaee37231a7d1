//! Quantities of Kubernetes as numbers: `1000m`, `1`, `1.0` and `1e0` are one; pure and exact.

/// Thousandths that the API server keeps at most: 2^63 - 1 whole ones.
const MOST: u128 = 9_223_372_036_854_775_807 * 1000;
/// Digits of [`MOST`].
const DIGITS: i64 = 22;

/// Thousandths of a quantity, rounded up and capped as the API server does it. `None`: it is no quantity, or a negative
/// one, which the API server refuses where quantities are asked for.
pub(super) fn thousandths(text: &str) -> Option<u128> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || whole.len() + fraction.len() == 0 {
        return None;
    }
    let (shift, kibi) = scale(suffix)?;
    let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).map(|digit| digit - b'0').collect();
    let mut point = i64::try_from(whole.len()).ok()?.checked_add(shift)?.checked_add(3)?;
    for _ in 0..kibi {
        point += times_1024(&mut digits);
    }
    Some(rounded_up(&digits, point))
}

/// Power of ten and power of 1024 of a suffix.
fn scale(suffix: &str) -> Option<(i64, u32)> {
    let decimal = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
    let binary = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    if let Some(place) = decimal.iter().position(|name| *name == suffix) {
        return Some((i64::try_from(place).ok()? * 3 - 9, 0));
    }
    if let Some(place) = binary.iter().position(|name| *name == suffix) {
        return Some((0, u32::try_from(place).ok()? + 1));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?;
    // What is further away is nothing or too much all the same.
    Some((exponent.parse::<i32>().ok()?.into(), 0))
}

/// Multiplies a number of decimal digits; how many digits longer it is.
fn times_1024(digits: &mut Vec<u8>) -> i64 {
    let mut carry = 0_u16;
    for digit in digits.iter_mut().rev() {
        let product = u16::from(*digit) * 1024 + carry;
        *digit = u8::try_from(product % 10).unwrap_or_default();
        carry = product / 10;
    }
    let mut longer = 0;
    while carry > 0 {
        digits.insert(0, u8::try_from(carry % 10).unwrap_or_default());
        carry /= 10;
        longer += 1;
    }
    longer
}

/// The number whose decimal point stands after `point` digits, rounded up to a whole one.
fn rounded_up(digits: &[u8], point: i64) -> u128 {
    let zeros = digits.iter().take_while(|digit| **digit == 0).count();
    let (digits, point) = (&digits[zeros..], point - i64::try_from(zeros).unwrap_or(i64::MAX));
    if digits.is_empty() {
        return 0;
    }
    if point > DIGITS {
        return MOST;
    }
    let kept = usize::try_from(point).unwrap_or(0);
    let digit = |place: usize| u128::from(digits.get(place).copied().unwrap_or(0));
    let whole = (0..kept).fold(0_u128, |sum, place| sum * 10 + digit(place));
    let more = digits.iter().skip(kept).any(|digit| *digit > 0);
    (whole + u128::from(more)).min(MOST)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_of_one_quantity_are_equal() {
        for (spellings, value) in [
            (&["1", "1000m", "1.0", "01", "1.", "+1", "1e0", "1E0", "10e-1", "0.001k", "1000000u"][..], 1000),
            (&["500m", "0.5", ".5", "5e-1", "500000000n"], 500),
            (&["1Gi", "1024Mi", "1048576Ki", "1073741824", "0.0009765625Ti"], 1_073_741_824_000),
            (&["1e3", "1k", "1E3", "1000", "1000000m", "1.000e+3"], 1_000_000),
            (&["1.5Gi", "1536Mi"], 1_610_612_736_000),
            // Rounded up to thousandths, as the API server does it.
            (&["1m", "0.1m", "0.0001", "1n", "1e-300", "0.00000000000000000000000000001"], 1),
            (&["9223372036854775807", "9223372036854775808", "1e300", "8Ei", "99E"], MOST),
            (&["0", "0.0", "0m", "0e9", "000", "0Ei"], 0),
        ] {
            for spelling in spellings {
                assert_eq!(thousandths(spelling), Some(value), "{spelling}");
            }
        }
    }

    #[test]
    fn what_is_no_quantity_is_none() {
        for text in ["", ".", "1.2.3", "1K", "1mi", "1e", "1e1.5", "-1", "one", "1 Gi", "1GiB", "١"] {
            assert_eq!(thousandths(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_number_is_the_same_in_every_spelling(millis in 0_u64..4_000_000_000_000_000, zeros in 0_usize..5) {
            let (whole, part) = (millis / 1000, millis % 1000);
            let padding = "0".repeat(zeros);
            for spelling in [
                format!("{millis}m"),
                format!("{padding}{millis}m"),
                format!("{whole}.{part:03}{padding}"),
                format!("{millis}e-3"),
                format!("{millis}000u"),
                format!("{millis}{padding}e-{}", 3 + zeros),
            ] {
                prop_assert_eq!(thousandths(&spelling), Some(u128::from(millis)), "{}", spelling);
            }
        }

        #[test]
        fn binary_suffixes_are_powers_of_1024(count in 0_u64..8_000_000, power in 1_u32..4) {
            let suffix = ["", "Ki", "Mi", "Gi"][power as usize];
            let plain = count * 1024_u64.pow(power);
            prop_assert_eq!(thousandths(&format!("{count}{suffix}")), thousandths(&plain.to_string()));
        }

        #[test]
        fn any_text_has_an_answer(text in "\\PC{0,40}") {
            let _value = thousandths(&text);
        }
    }
}
