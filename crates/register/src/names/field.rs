//! Rules that several text fields share, and the error that names the field that breaks one.

/// Why a value is not a valid identifier or field: names the field, the limit and what was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the message names each field")]
pub enum InvalidField {
    /// A required field is empty.
    #[error("{field} is empty; it needs 1 to {max} characters")]
    Empty { field: &'static str, max: usize },
    /// A field is longer than its limit.
    #[error("{field} has {actual} {unit}; the limit is {max}")]
    TooLong { field: &'static str, actual: usize, max: usize, unit: &'static str },
    /// A field has a character outside its pattern.
    #[error(
        "{field} has the character {found:?} at position {position}; allowed are a-z, A-Z, 0-9, '-' and '_'"
    )]
    Pattern { field: &'static str, found: char, position: usize },
    /// A field has a control character.
    #[error("{field} has the control character {found:?} at position {position}; leave it out")]
    Control { field: &'static str, found: char, position: usize },
    /// A number is outside its range.
    #[error("{field} is {actual}; it must be {expected}")]
    Range { field: &'static str, actual: String, expected: &'static str },
}

/// Checks that a text has no control characters: they are invisible, and not every store keeps them.
///
/// # Errors
/// [`InvalidField::Control`] naming the field.
pub fn check_visible(field: &'static str, value: &str) -> Result<(), InvalidField> {
    match value.chars().enumerate().find(|(_, found)| found.is_control()) {
        Some((position, found)) => Err(InvalidField::Control { field, found, position }),
        None => Ok(()),
    }
}

/// Checks the length of a text field in characters.
///
/// # Errors
/// [`InvalidField::TooLong`] when it has more than `max` characters.
pub fn check_length(field: &'static str, value: &str, max: usize) -> Result<(), InvalidField> {
    // A byte length within the limit settles it without counting.
    if value.len() <= max {
        return Ok(());
    }
    match value.chars().count() {
        actual if actual > max => Err(InvalidField::TooLong { field, actual, max, unit: "characters" }),
        _ => Ok(()),
    }
}

pub(super) fn check_identifier(field: &'static str, value: &str, max: usize) -> Result<(), InvalidField> {
    if value.is_empty() {
        return Err(InvalidField::Empty { field, max });
    }
    check_length(field, value, max)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match value.chars().enumerate().find(|(_, c)| !allowed(*c)) {
        Some((position, found)) => Err(InvalidField::Pattern { field, found, position }),
        None => Ok(()),
    }
}
