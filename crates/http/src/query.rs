//! Query parameters: a wrong, repeated or unknown one is an error that names it.

use std::{convert::Infallible, ops::RangeInclusive};

use axum::{
    extract::{FromRequestParts, Query},
    http::request::Parts,
};

use super::problem::Problem;

/// The query of a request; `None` when it is not decodable.
#[derive(Debug)]
pub(super) struct Params(Option<Vec<(String, String)>>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(Query::try_from_uri(&parts.uri).ok().map(|Query(pairs)| pairs)))
    }
}

impl Params {
    /// The same, if there are no others than these, each at most once.
    pub(super) fn only(self, known: &[&str]) -> Result<Known, Problem> {
        let pairs = self.0.ok_or_else(|| Problem::invalid("the query is not decodable"))?;
        for (index, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                return Err(Problem::invalid(format!(
                    "unknown parameter {name:?}; known are {}",
                    known.join(", ")
                )));
            }
            if pairs[..index].iter().any(|(earlier, _)| earlier == name) {
                return Err(Problem::invalid(format!("{name} is given twice")));
            }
        }
        Ok(Known(pairs))
    }
}

/// Parameters of known names.
#[derive(Debug)]
pub(super) struct Known(Vec<(String, String)>);

impl Known {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A whole number in a range.
    pub(super) fn number(
        &self,
        name: &str,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> Result<u64, Problem> {
        let Some(text) = self.get(name) else { return Ok(default) };
        text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
            let (low, high) = range.into_inner();
            let bound =
                if high == u64::MAX { format!("of {low} or more") } else { format!("from {low} to {high}") };
            Problem::invalid(format!("{name} is {text:?}; it must be a whole number {bound}"))
        })
    }

    /// `true` or `false`, if given.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Problem> {
        match self.get(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(text) => Err(Problem::invalid(format!("{name} is {text:?}; it must be true or false"))),
        }
    }
}
