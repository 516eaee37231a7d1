//! What a node's certificate is worth now; pure.

use sorcha_identity::certificate::{Age, Credential, Validity};

/// How a node's own certificate stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its time.
    pub validity: Validity,
    /// Whose it is.
    pub credential: Credential,
    /// How old it is.
    pub age: Age,
    /// Why the files as they are now are not in use, where they are not.
    pub fault: Option<String>,
}

impl Status {
    /// What is wrong, if anything is.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let Validity { not_before, not_after } = self.validity;
        match (&self.age, &self.fault) {
            (Age::Expired, _) => Some(format!("this node's certificate has expired at {not_after}")),
            (Age::NotYetValid, _) => {
                Some(format!("this node's certificate is not valid before {not_before}"))
            }
            (_, Some(fault)) => Some(format!("the new TLS files are not in use: {fault}")),
            _ => None,
        }
    }
}
