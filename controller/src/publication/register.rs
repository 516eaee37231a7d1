//! One blueprint at one central node: looks at it, publishes, deprecates, reactivates.

use std::collections::BTreeMap;

use reqwest::{
    Client, RequestBuilder, Response, StatusCode, Url,
    header::{ETAG, IF_NONE_MATCH},
};
use sorcha_api::{
    Publication,
    client::{innermost, is_passing},
    problem::Told,
};
use sorcha_crds::{conditions::MESSAGE_CHARS, text::cut};

use super::{Entry, Refusal, document::Document, tls};
use crate::{feed::object::form, json::Shallow, leader::fence::Fence};

/// Longest refusal that is read, bytes.
const REFUSAL_BYTES: usize = 64 * 1024;
/// Longest entity tag that is sent back, bytes.
const TAG_BYTES: usize = 128;

/// Why it was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Another time or another central node may; the text says why.
    Passing(String),
    /// No central node will.
    Refused(Refusal),
    /// Nobody wants it any more.
    Gone,
}

/// What was seen at a central node, with the validator that makes the next look cheap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// The blueprint.
    pub entry: Entry,
    /// Its entity tag.
    pub tag: Option<String>,
}

/// One blueprint at one central node.
#[derive(Debug)]
pub(crate) struct Register<'a> {
    /// The HTTP client.
    pub client: &'a Client,
    /// It is asked and written through this.
    pub fence: &'a Fence,
    /// Where the central node serves HTTP.
    pub base: Url,
    /// The central node, for messages.
    pub central: &'a str,
    /// Bearer token for writes.
    pub token: &'a str,
    /// Id of the blueprint.
    pub id: &'a str,
}

impl Register<'_> {
    /// What is published under the id; `known` is what was seen last, whose document is then not sent again.
    ///
    /// # Errors
    /// [`Fault::Passing`].
    pub(crate) async fn look(&self, known: Option<&Known>) -> Result<Option<Known>, Fault> {
        let mut request = self.client.get(self.url(&["blueprints", self.id]));
        let tag = known.and_then(|known| known.tag.as_deref());
        if let Some(tag) = tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        let response = self.send(request).await?;
        match (response.status(), known) {
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (StatusCode::NOT_MODIFIED, Some(known)) => Ok(Some(known.clone())),
            (StatusCode::OK, _) => {
                let tag = response.headers().get(ETAG).and_then(|tag| tag.to_str().ok());
                let tag = tag.filter(|tag| tag.len() <= TAG_BYTES).map(str::to_owned);
                Ok(Some(Known { entry: understood(&body(response).await?)?, tag }))
            }
            (status, _) => Err(Fault::Passing(told(status, &body(response).await?))),
        }
    }

    /// Publishes; tells what is published then, and whether it was not before.
    ///
    /// # Errors
    /// [`Fault`]. After [`Fault::Passing`] it may be published all the same; doing it again tells.
    pub(crate) async fn publish(&self, document: &Document) -> Result<(Entry, bool), Fault> {
        let publication = Publication {
            blueprint_id: self.id,
            blueprint: &document.text,
            metadata: BTreeMap::new(),
            published_by: None,
        };
        let request = self.client.post(self.url(&["publish"])).json(&publication);
        let (status, body) = self.write(request).await?;
        match status {
            StatusCode::CREATED | StatusCode::OK => Ok((understood(&body)?, status == StatusCode::CREATED)),
            StatusCode::CONFLICT => {
                let (ours, message) = (document.checksum.clone(), told(status, &body));
                Err(Fault::Refused(Refusal::Taken { ours, message }))
            }
            _ => Err(self.fault(status, &body)),
        }
    }

    /// Deprecates or reactivates.
    ///
    /// # Errors
    /// [`Fault`].
    pub(crate) async fn set_active(&self, active: bool) -> Result<Entry, Fault> {
        let action = if active { "reactivate" } else { "deprecate" };
        let request = self.client.post(self.url(&["blueprints", self.id, action]));
        let (status, body) = self.write(request).await?;
        match status {
            StatusCode::OK => understood(&body),
            // Its log is a moment behind, or another one has it.
            StatusCode::NOT_FOUND => Err(Fault::Passing(told(status, &body))),
            _ => Err(self.fault(status, &body)),
        }
    }

    async fn write(&self, request: RequestBuilder) -> Result<(StatusCode, Vec<u8>), Fault> {
        let response = self.send(request.bearer_auth(self.token)).await?;
        Ok((response.status(), body(response).await?))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Fault> {
        let answer = self.fence.within(request.send()).await;
        let answer = answer.map_err(|not_leading| Fault::Passing(not_leading.to_string()))?;
        answer.map_err(|error| self.away(&error))
    }

    /// A central node that can't be reached, or is another one than it should be.
    fn away(&self, error: &reqwest::Error) -> Fault {
        match tls::unproven(error) {
            Some(message) => {
                let (central, message) = (self.central.to_owned(), cut(&message, MESSAGE_CHARS));
                Fault::Refused(Refusal::Unproven { central, message })
            }
            None => passing(error),
        }
    }

    fn fault(&self, status: StatusCode, body: &[u8]) -> Fault {
        let (central, message) = (self.central.to_owned(), told(status, body));
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Fault::Refused(Refusal::NotAllowed { central, message })
            }
            status if status.is_client_error() && !is_passing(status) => {
                Fault::Refused(Refusal::Rejected { central, message })
            }
            _ => Fault::Passing(message),
        }
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().extend(["api", "system-register"]).extend(path);
        }
        url
    }
}

fn told(status: StatusCode, body: &[u8]) -> String {
    let told = Told::of(body).text();
    cut(&told.unwrap_or_else(|| format!("it answers {status}")), MESSAGE_CHARS)
}

fn passing(error: &reqwest::Error) -> Fault {
    Fault::Passing(cut(&innermost(error), MESSAGE_CHARS))
}

fn understood(body: &[u8]) -> Result<Entry, Fault> {
    let strange = |what: String| Fault::Passing(format!("its answer is not understood: {what}"));
    let entry: Entry =
        serde_json::from_slice(body).map_err(|error| strange(format!("it {}", form(&error))))?;
    entry.checked().map_err(|what| strange(what.to_owned()))
}

/// The answer's own fields. Documents in it, which may have 16 MB, are passed over as they arrive.
async fn body(mut response: Response) -> Result<Vec<u8>, Fault> {
    let long = |_| Fault::Passing("its answer is too long, or breaks off".to_owned());
    if !response.status().is_success() {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| passing(&error))? {
            body.extend(chunk.iter().take(REFUSAL_BYTES - body.len()));
            if body.len() >= REFUSAL_BYTES {
                break;
            }
        }
        return Ok(body);
    }
    let mut fields = Shallow::default();
    while let Some(chunk) = response.chunk().await.map_err(|error| passing(&error))? {
        fields.push(&chunk).map_err(long)?;
    }
    fields.finish().map_err(long)
}

#[cfg(test)]
mod tests;
