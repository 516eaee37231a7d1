//! Errors as RFC 9457 problem documents: their kinds, and what a caller reads of one.

use http::StatusCode;
use serde::{Deserialize, Serialize};

/// Media type of a problem document.
pub const MEDIA_TYPE: &str = "application/problem+json";
/// A kind's type begins so; the slug follows.
const TYPES: &str = "https://sorcha.dev/problems/";

/// A kind of problem: what its type, title and status are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Last part of its type.
    pub slug: &'static str,
    /// It, for people.
    pub title: &'static str,
    /// Status of the answer.
    pub status: StatusCode,
}

macro_rules! kinds {
    ($($name:ident = $status:ident, $slug:literal, $title:literal;)*) => {
        impl Kind {
            $(#[doc = $title] pub const $name: Self = Self { slug: $slug, title: $title, status: StatusCode::$status };)*
        }
    };
}

kinds! {
    INVALID = BAD_REQUEST, "invalid-request", "The request is not valid";
    UNAUTHORIZED = UNAUTHORIZED, "unauthorized", "A valid token is needed";
    WRITES_DISABLED = FORBIDDEN, "writes-disabled", "This node takes no writes over HTTP";
    FORBIDDEN = FORBIDDEN, "forbidden", "The caller may not publish here";
    NOT_FOUND = NOT_FOUND, "not-found", "There is no such resource";
    OTHER_ROLE = NOT_FOUND, "other-role", "The other role serves this resource";
    METHOD = METHOD_NOT_ALLOWED, "method-not-allowed", "The resource does not take this method";
    NOT_ACCEPTABLE = NOT_ACCEPTABLE, "not-acceptable", "The resource has no such representation";
    TIMEOUT = REQUEST_TIMEOUT, "request-timeout", "The request took too long to arrive";
    CONFLICT = CONFLICT, "conflict", "The blueprint id is taken";
    TOO_LARGE = PAYLOAD_TOO_LARGE, "too-large", "The request is too large";
    MEDIA = UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The body has the wrong media type";
    TOO_MANY = TOO_MANY_REQUESTS, "too-many-requests", "The caller has too much under way";
    UNSTORABLE = UNPROCESSABLE_ENTITY, "unstorable", "The store can't keep this document";
    INTERNAL = INTERNAL_SERVER_ERROR, "internal", "The node failed";
    STORE_UNAVAILABLE = SERVICE_UNAVAILABLE, "store-unavailable", "The store is not available";
    BUSY = SERVICE_UNAVAILABLE, "busy", "The node has no room for more";
    NOT_REVIEWED = SERVICE_UNAVAILABLE, "not-reviewed", "The token can't be checked now";
    DAMAGED = SERVICE_UNAVAILABLE, "register-damaged", "The register failed its integrity check";
    NOT_READY = SERVICE_UNAVAILABLE, "not-ready", "The node does not serve its role";
    STALE = SERVICE_UNAVAILABLE, "stale-replica", "The replica is older than this node may serve";
    NOT_CONNECTED = SERVICE_UNAVAILABLE, "not-connected", "The peer has no central node";
    NOT_RUNNING = SERVICE_UNAVAILABLE, "not-running", "The peer takes no commands now";
    SYNC_FAILED = SERVICE_UNAVAILABLE, "sync-failed", "The sync failed";
    STORE_FULL = INSUFFICIENT_STORAGE, "store-full", "The store has no space left";
}

/// An RFC 9457 problem document: the body of every error.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Problem))]
#[cfg_attr(feature = "openapi", schema(example = json!({
    "type": "https://sorcha.dev/problems/not-found", "title": "There is no such resource", "status": 404,
    "detail": "no blueprint invoice-v1 is published", "instance": "/api/system-register/blueprints/invoice-v1"
})))]
pub struct ProblemDocument {
    /// Names the kind of problem; a stable identifier for programs.
    #[cfg_attr(feature = "openapi", schema(format = "uri"))]
    r#type: String,
    /// The kind, for people.
    title: &'static str,
    /// The HTTP status.
    #[cfg_attr(feature = "openapi", schema(minimum = 400, maximum = 599))]
    status: u16,
    /// What happened, with the field, the limit and what was found, and what to do about it.
    detail: String,
    /// The path that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
}

impl Kind {
    /// The document of such a problem.
    #[must_use]
    pub fn document(self, detail: &str, instance: Option<&str>) -> ProblemDocument {
        ProblemDocument {
            r#type: format!("{TYPES}{}", self.slug),
            title: self.title,
            status: self.status.as_u16(),
            detail: detail.to_owned(),
            instance: instance.map(str::to_owned),
        }
    }
}

/// What a caller reads of a problem document; whatever answers may leave out any of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Told {
    r#type: Option<String>,
    title: Option<String>,
    detail: Option<String>,
}

impl Told {
    /// Reads the body of an error. What is no problem document tells nothing.
    #[must_use]
    pub fn of(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_default()
    }

    /// Whether the problem is of a kind.
    #[must_use]
    pub fn is(&self, kind: Kind) -> bool {
        self.r#type.as_deref().and_then(|name| name.strip_prefix(TYPES)) == Some(kind.slug)
    }

    /// Title and detail in one line.
    #[must_use]
    pub fn text(self) -> Option<String> {
        match (self.title, self.detail) {
            (Some(title), Some(detail)) => Some(format!("{title}: {detail}")),
            (title, detail) => title.or(detail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let document = Kind::CONFLICT.document("id a is published", Some("/a"));
        let told = Told::of(&serde_json::to_vec(&document).unwrap());
        assert!(told.is(Kind::CONFLICT) && !told.is(Kind::NOT_FOUND));
        assert_eq!(told.text().as_deref(), Some("The blueprint id is taken: id a is published"));
        assert_eq!(Told::of(br#"{"detail": "so it is"}"#).text().as_deref(), Some("so it is"));
        assert_eq!(Told::of(b"<html>").text(), None);
    }
}
