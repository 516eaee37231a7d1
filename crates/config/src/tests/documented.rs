//! docs/configuration.md against the code: every setting, its default and its range.

use std::collections::BTreeMap;

use serde_json::Value;

use super::*;

const MANUAL: &str = include_str!("../../../../docs/configuration.md");
/// Any number of its type will do.
const UNBOUNDED: &str = "sync.max_blueprints";
/// Unset by default, so that nothing else shows that they are numbers or times.
const OPTIONAL: [&str; 2] = ["connect.failback_after", "sync.max_memory"];

/// Every setting and its default, as serialised.
fn defaults() -> BTreeMap<String, Value> {
    fn leaves(prefix: &str, value: &Value, into: &mut BTreeMap<String, Value>) {
        match value.as_object().filter(|map| !map.contains_key("per_second")) {
            Some(map) => {
                let path =
                    |key: &str| if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") };
                map.iter().for_each(|(key, value)| leaves(&path(key), value, into));
            }
            None => drop(into.insert(prefix.to_owned(), value.clone())),
        }
    }
    let mut settings = BTreeMap::new();
    leaves("", &serde_json::to_value(Config::default()).unwrap(), &mut settings);
    settings
}

fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// What the manual's table says of a setting.
struct Told {
    /// None where it is no value but words.
    default: Option<String>,
    /// None where there is none.
    range: Option<String>,
}

fn documented() -> BTreeMap<String, Told> {
    let rows = MANUAL.lines().filter_map(|line| line.strip_prefix("| `").map(|_| line));
    rows.flat_map(|row| {
        let cells: Vec<_> = row.trim_start_matches('|').split(" | ").collect();
        let (values, ranges) = (cells[1].trim(), cells[2].trim());
        let mut defaults =
            if values.starts_with(['`', '–']) { quoted(values) } else { Vec::new() }.into_iter();
        let mut ranges = ranges.split(", ");
        quoted(cells[0]).into_iter().map(move |name| {
            let default = if values == "–" { Some("–".to_owned()) } else { defaults.next() };
            let range = ranges.next().map(|range| range.trim_matches('`').to_owned());
            (name, Told { default, range: range.filter(|range| range != "–") })
        })
    })
    .collect()
}

fn is_same_default(value: &Value, told: &str) -> bool {
    match value {
        Value::Null => told == "–",
        Value::String(text) => {
            let time = |text: &str| humantime::parse_duration(text).ok();
            text == told || (time(text).is_some() && time(text) == time(told))
        }
        Value::Object(rate) => {
            let per_second = rate["per_second"].as_f64().unwrap();
            let rounded = (per_second * 10_000.0).round() / 10_000.0;
            told == format!("{{per_second = {rounded:?}, burst = {}}}", rate["burst"])
        }
        other => other.to_string().as_str() == told,
    }
}

#[test]
fn every_setting_is_documented_with_its_default() {
    // Worked out at start.
    const WORKED_OUT: [&str; 1] = ["node.hostname_pattern"];
    let (settings, documented) = (defaults(), documented());
    assert!(settings.len() > 50, "{settings:?}");
    for (setting, value) in &settings {
        let told = documented.get(setting);
        let told = told.unwrap_or_else(|| panic!("{setting} is not in docs/configuration.md"));
        if let Some(told) = told.default.as_ref().filter(|_| !WORKED_OUT.contains(&setting.as_str())) {
            assert!(
                is_same_default(value, told),
                "{setting}: {value}, but docs/configuration.md says {told}"
            );
        }
    }
}

/// A number or a time, as the manual, TOML and errors write it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Measure {
    Whole(i64),
    Number(f64),
    Time(Duration),
}

impl Measure {
    fn parse(text: &str) -> Option<Self> {
        let whole = text.parse().ok().map(Self::Whole);
        let number = || text.parse().ok().map(Self::Number);
        whole.or_else(number).or_else(|| humantime::parse_duration(text).ok().map(Self::Time))
    }

    /// The nearest value below; none below a time or count of nothing.
    fn below(self) -> Option<Self> {
        match self {
            Self::Whole(number) => (number > 0).then(|| Self::Whole(number - 1)),
            Self::Number(number) => Some(Self::Number(number * 0.999)),
            Self::Time(time) => time.checked_sub(Duration::from_nanos(1)).map(Self::Time),
        }
    }

    fn above(self) -> Self {
        match self {
            Self::Whole(number) => Self::Whole(number + 1),
            Self::Number(number) => Self::Number(number * 1.001),
            Self::Time(time) => Self::Time(time + Duration::from_nanos(1)),
        }
    }

    fn toml(self) -> String {
        match self {
            Self::Whole(number) => number.to_string(),
            Self::Number(number) => format!("{number:?}"),
            Self::Time(time) => format!("'{}'", humantime::format_duration(time)),
        }
    }

    /// The same as a fraction, for a setting that is one.
    fn fraction(self) -> Self {
        match self {
            Self::Whole(number) => Self::Number(f64::from(i32::try_from(number).unwrap())),
            other => other,
        }
    }
}

/// Both ends of a range; one that is a setting is that setting's default.
fn ends(range: &str, settings: &BTreeMap<String, Value>) -> (Measure, Measure) {
    let (low, high) = range.split_once(" to ").unwrap_or_else(|| panic!("{range:?} is no range"));
    let end = |text: &str| {
        let default = settings.get(text).and_then(Value::as_str);
        Measure::parse(default.unwrap_or(text)).unwrap_or_else(|| panic!("{text:?} in {range:?}"))
    };
    (end(low), end(high))
}

/// Why a setting is refused when it has a value.
fn refusal(setting: &str, value: &str) -> Option<String> {
    let config = load(&format!("{setting} = {value}\n")).unwrap_or_else(|error| panic!("{error}"));
    let error = config.with_identity("edge-0").validate(Role::Peer).err()?.to_string();
    error.strip_prefix(&format!("{setting}: ")).map(str::to_owned)
}

/// Tries both ends of a range, which are taken, and what is just outside, which is not.
fn try_range(setting: &str, (low, high): (Measure, Measure), written: impl Fn(Measure) -> String) {
    for end in [low, high] {
        assert_eq!(refusal(setting, &written(end)), None, "{setting}: {end:?}");
    }
    for outside in low.below().into_iter().chain([high.above()]) {
        let told = refusal(setting, &written(outside));
        let told = told.unwrap_or_else(|| panic!("{setting} may be {outside:?}"));
        let (_, limits) = told.split_once(" is outside ").unwrap_or_else(|| panic!("{setting}: {told}"));
        assert_eq!(ends(limits, &BTreeMap::new()), (low, high), "{setting}: {told}");
    }
}

/// What the manual says of a rate's two numbers.
fn rate_ranges(settings: &BTreeMap<String, Value>) -> [(Measure, Measure); 2] {
    let words = MANUAL.lines().map(quoted).find(|words| words.first().is_some_and(|word| word == "a rate"));
    let words = words.expect("docs/configuration.md says what a rate is");
    assert_eq!([&words[1], &words[3]], ["per_second", "burst"]);
    [&words[2], &words[4]].map(|range| ends(range, settings))
}

#[test]
fn every_number_and_time_is_held_to_its_documented_range() {
    let (settings, documented) = (defaults(), documented());
    let [per_second, burst] = rate_ranges(&settings);
    for (setting, value) in settings.iter().filter(|(setting, _)| *setting != UNBOUNDED) {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let is_measure =
            value.is_object() || Measure::parse(&text).is_some() || OPTIONAL.contains(&setting.as_str());
        // A version of TLS looks like a number.
        let is_measure = is_measure && setting != "tls.min_version";
        let range = documented[setting].range.as_deref();
        assert_eq!(range.is_some(), is_measure, "{setting}: its range in docs/configuration.md");
        match range {
            None => {}
            Some("a rate") => {
                try_range(setting, per_second, |n| format!("{{ per_second = {}, burst = 1 }}", n.toml()));
                try_range(setting, burst, |n| format!("{{ per_second = 1.0, burst = {} }}", n.toml()));
            }
            Some(range) => {
                let (low, high) = ends(range, &settings);
                let is_fraction = value.is_f64();
                try_range(setting, (low, high), |end| if is_fraction { end.fraction() } else { end }.toml());
            }
        }
    }
}
