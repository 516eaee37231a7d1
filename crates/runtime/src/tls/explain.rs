//! Why a TLS connection failed, in words that say which side has to change what. Pure.

use std::io;

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

/// The reason behind an error of a TLS connection.
#[must_use]
pub fn explain(error: &io::Error) -> String {
    match tls_error(error) {
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            "what the other side sent is not TLS; is one side configured for plain text?".to_owned()
        }
        Some(Error::AlertReceived(alert)) => refusal(*alert),
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "the other side's certificate is not of a CA in tls.ca_file (UnknownIssuer)".to_owned()
        }
        Some(Error::InvalidCertificate(fault)) => format!("the other side's certificate is refused: {fault}"),
        Some(Error::NoCertificatesPresented) => "the other side shows no certificate".to_owned(),
        Some(error) => format!("TLS: {error}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the other side closed the connection in the middle of the TLS handshake".to_owned()
        }
        None => error.to_string(),
    }
}

/// TLS's own error, if that is what it was.
#[must_use]
pub fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// What the other side's alert says of this side.
fn refusal(alert: AlertDescription) -> String {
    let why = match alert {
        AlertDescription::CertificateExpired => "it is expired, or not valid yet, by the other side's clock",
        AlertDescription::UnknownCA => "it is not of a CA in the other side's tls.ca_file",
        AlertDescription::CertificateRequired => "there was none",
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown => "it is not good for a client",
        AlertDescription::ProtocolVersion => {
            return "the other side speaks no version of TLS in common".to_owned();
        }
        _ => return format!("the other side ended the TLS connection: {alert:?}"),
    };
    format!("the other side refuses this node's certificate: {why} ({alert:?})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_side_that_must_change_is_named() {
        let told = |error: Error| explain(&io::Error::new(io::ErrorKind::InvalidData, error));
        assert!(told(Error::InvalidMessage(InvalidMessage::InvalidContentType)).contains("plain text"));
        assert!(told(Error::AlertReceived(AlertDescription::UnknownCA)).contains("other side's tls.ca_file"));
        assert!(told(Error::AlertReceived(AlertDescription::CertificateExpired)).contains("expired"));
        assert!(told(Error::InvalidCertificate(CertificateError::UnknownIssuer)).contains("in tls.ca_file"));
        assert!(told(Error::NoApplicationProtocol).starts_with("TLS: "));
        assert_eq!(explain(&io::Error::other("no route")), "no route");
    }
}
