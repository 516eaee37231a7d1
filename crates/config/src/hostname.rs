//! The host name pattern of central nodes (protocol section 6.1, D30).

use std::fmt;

/// A pattern such as `*.sorcha.dev`; `*` stands for one whole label, letters count as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostnamePattern(String);

impl HostnamePattern {
    /// Takes a pattern as configured.
    #[must_use]
    pub const fn new(pattern: String) -> Self {
        Self(pattern)
    }

    /// Whether a host name matches, label by label.
    #[must_use]
    pub fn matches(&self, hostname: &str) -> bool {
        let (pattern, labels): (Vec<_>, Vec<_>) =
            (self.0.split('.').collect(), hostname.split('.').collect());
        pattern.len() == labels.len()
            && pattern
                .iter()
                .zip(&labels)
                .all(|(wanted, label)| !label.is_empty() && (*wanted == "*" || wanted == label))
    }
}

impl fmt::Display for HostnamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_exactly_one_label() {
        let pattern = HostnamePattern::new("*.sorcha.dev".into());
        assert!(pattern.matches("n0.sorcha.dev"));
        for other in
            ["sorcha.dev", ".sorcha.dev", "a.n0.sorcha.dev", "N0.Sorcha.dev", "n0.sorcha.dev.evil", ""]
        {
            assert!(!pattern.matches(other), "{other}");
        }
    }
}
