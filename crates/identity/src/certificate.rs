//! What a certificate says: until when it is good, and whose it is. Pure; nothing here proves that it is true.

use std::time::Duration;

use sorcha_register::clock::Timestamp;
use x509_cert::{
    Certificate,
    der::Decode as _,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use super::{Identity, InvalidIdentity};

/// Whose a certificate is, or why it is nobody's here.
pub type Credential = Result<Identity, NoIdentity>;

/// Why a certificate names nobody of a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoIdentity {
    /// It has none.
    #[error("it has no spiffe:// URI among its subject alternative names")]
    Missing,
    /// It has several; which one counts would be a guess.
    #[error("it has {0} spiffe:// URIs among its subject alternative names; it must have one")]
    Several(usize),
    /// It has one of another form.
    #[error(transparent)]
    Invalid(#[from] InvalidIdentity),
    /// It can't be read.
    #[error("it can't be read: {0}")]
    Unreadable(String),
}

/// The time in which a certificate is good, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// First instant.
    pub not_before: Timestamp,
    /// Last instant.
    pub not_after: Timestamp,
}

/// What there is to say of a certificate's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// It is not good yet.
    NotYetValid,
    /// It is good.
    Valid,
    /// It is good, and should have been renewed by now.
    EndsSoon,
    /// It is not good any more.
    Expired,
}

impl Validity {
    /// How it stands; a short one ends soon when a quarter of its life is left, even if that is less than `warn_before`.
    #[must_use]
    pub fn age(&self, warn_before: Duration, now: Timestamp) -> Age {
        if now < self.not_before {
            return Age::NotYetValid;
        }
        if now > self.not_after {
            return Age::Expired;
        }
        let quarter = self.not_after.millis_since(self.not_before) / 4;
        let warn = i64::try_from(warn_before.as_millis()).unwrap_or(i64::MAX).min(quarter);
        if self.not_after.millis_since(now) < warn { Age::EndsSoon } else { Age::Valid }
    }
}

/// A certificate, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Its time.
    pub validity: Validity,
    /// Its owner.
    pub credential: Credential,
}

impl Leaf {
    /// Reads a certificate (DER).
    ///
    /// # Errors
    /// A description of what is wrong with it.
    pub fn read(der: &[u8]) -> Result<Self, String> {
        let certificate = Certificate::from_der(der).map_err(|error| error.to_string())?;
        let validity = certificate.tbs_certificate().validity();
        let at = |time: x509_cert::time::Time| Timestamp::default().plus(time.to_unix_duration());
        Ok(Self {
            validity: Validity { not_before: at(validity.not_before), not_after: at(validity.not_after) },
            credential: credential_of(&certificate),
        })
    }
}

/// Whose a certificate (DER) is that was shown on a connection.
pub fn credential(der: &[u8]) -> Credential {
    Leaf::read(der).map_err(NoIdentity::Unreadable)?.credential
}

fn credential_of(certificate: &Certificate) -> Credential {
    let names = certificate
        .tbs_certificate()
        .get_extension::<SubjectAltName>()
        .map_err(|error| NoIdentity::Unreadable(error.to_string()))?;
    let names = names.map(|(_, SubjectAltName(names))| names).unwrap_or_default();
    let uris: Vec<&str> = names
        .iter()
        .filter_map(|name| match name {
            GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str()),
            _ => None,
        })
        .filter(|uri| uri.get(..9).is_some_and(|scheme| scheme.eq_ignore_ascii_case("spiffe://")))
        .collect();
    match uris[..] {
        [] => Err(NoIdentity::Missing),
        [uri] => Ok(Identity::parse(uri)?),
        _ => Err(NoIdentity::Several(uris.len())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, SanType};
    use time::OffsetDateTime;

    use super::*;

    /// A certificate, DER.
    fn made(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn read(uris: &[&str]) -> Leaf {
        let names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap()));
        Leaf::read(&made(|params| params.subject_alt_names.extend(names))).unwrap()
    }

    #[test]
    fn exactly_one_spiffe_uri_is_an_identity() {
        let uri = "spiffe://sorcha.dev/ns/shop/sorchapeer/edge";
        assert_eq!(read(&[uri]).credential.unwrap().to_string(), uri);
        assert_eq!(read(&["https://sorcha.dev/", uri]).credential.unwrap().to_string(), uri);
        assert_eq!(read(&[]).credential, Err(NoIdentity::Missing));
        assert_eq!(read(&["https://sorcha.dev/"]).credential, Err(NoIdentity::Missing));
        assert_eq!(read(&[uri, uri]).credential, Err(NoIdentity::Several(2)));
        assert!(matches!(read(&["spiffe://sorcha.dev/edge"]).credential, Err(NoIdentity::Invalid(_))));
        assert!(matches!(
            read(&["SPIFFE://sorcha.dev/ns/shop/peer/a"]).credential,
            Err(NoIdentity::Invalid(_))
        ));
    }

    #[test]
    fn times_are_read_to_the_second() {
        let at = |second| OffsetDateTime::from_unix_timestamp(second).unwrap();
        let (from, to) = (at(1_700_000_000), at(4_000_000_000));
        let der = made(|params| (params.not_before, params.not_after) = (from, to));
        let leaf = Leaf::read(&der).unwrap();
        assert_eq!(leaf.validity.not_before, Timestamp::from_millis(1_700_000_000_000));
        assert_eq!(leaf.validity.not_after, Timestamp::from_millis(4_000_000_000_000));
    }

    #[test]
    fn ages() {
        let at = |second: i64| Timestamp::from_millis(second * 1000);
        let validity = Validity { not_before: at(100), not_after: at(500) };
        let age = |second, warn| validity.age(Duration::from_secs(warn), at(second));
        assert_eq!(age(99, 50), Age::NotYetValid);
        assert_eq!((age(100, 50), age(450, 50)), (Age::Valid, Age::Valid));
        assert_eq!((age(451, 50), age(500, 50)), (Age::EndsSoon, Age::EndsSoon));
        assert_eq!(age(501, 50), Age::Expired);
        // A quarter of 400 s.
        assert_eq!((age(400, 10_000), age(401, 10_000)), (Age::Valid, Age::EndsSoon));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn changed_certificates_are_read_or_refused(at in any::<prop::sample::Index>(), byte in any::<u8>(), keep in any::<prop::sample::Index>()) {
            let mut der = made(|_| ());
            let index = at.index(der.len());
            der[index] = byte;
            drop(Leaf::read(&der));
            der.truncate(keep.index(der.len()));
            prop_assert!(Leaf::read(&der).is_err());
        }
    }
}
