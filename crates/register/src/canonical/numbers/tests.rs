use proptest::prelude::*;

use super::*;

fn is_kept(literal: &str) -> bool {
    check(format!("{{\"n\":{literal}}}").as_bytes()).is_ok()
}

/// Literals that denote the number of their canonical form. Of 563000000000000.25, which is in the middle between .2 and .3,
/// the canonical form is the even one.
const KEPT: &str = "0 -0 -0.0 0e999999999 0E-5 0.000 1 1.0 100 1e2 1E+2 0.1 -0.1 4.50 2e-3 1E30 \
    0.000000000000000000000000001 333333333.33333329 9007199254740991 9007199254740992 9007199254740994 \
    -9007199254740992 1e21 1e308 1.7976931348623157e308 5e-324 2.2250738585072014e-308 \
    0.10000000000000001 0.30000000000000004 8.3000000000000007 18446744073709552000 0.1000000000000000 \
    123456789012345.6 563000000000000.2 563000000000000.25 1.50000000000000000000000000000000000000";

const CHANGED: &str = "9007199254740993 -9007199254740993 9007199254740993.0 9007199254740993e0 900719925474099.3e1 \
    18446744073709551615 18446744073709551617 18446744073709551617.0 1844674407370955161.7e1 1e400 1E400 \
    -1e400 1e-400 2e-324 3e-324 4.6e-324 1.00000000000000000001 0.12345678901234567 10000000000000001 \
    10000000000000001.0 1e999999999999999999999 1e-999999999999999999999 1.7976931348623159e308 \
    123456789012345678901234567890 0.1234567890123456789 1152921504606846977 \
    0.1000000000000000055511151231257827 4503599627370497.3 563000000000000.3 563000000000.0003E3 \
    2.9999999999999999";

#[test]
fn what_a_double_keeps_is_kept_and_nothing_else() {
    for kept in KEPT.split(' ') {
        assert!(is_kept(kept), "{kept}");
    }
    for changed in CHANGED.split(' ') {
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
    let fraction = prop_oneof![3 => Just(String::new()), 2 => "\\.[0-9]{1,24}", 1 => "\\.0{1,12}[0-9]{1,6}"];
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
