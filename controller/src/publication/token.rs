//! Tokens to publish with: those of a ServiceAccount that may do nothing else, each for one audience.

use std::{collections::HashMap, sync::Arc, time::Duration};

use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, Client, api::PostParams};
use tokio::{sync::Mutex, time::Instant};

use crate::{metrics::Metrics, reconcile::told};

/// Life that is asked for, seconds. The API server may give another one.
const LIFE_SECONDS: i64 = 3600;
/// A token that was refused is not asked for anew sooner: it is not the token's age that is wrong then.
const YOUNGEST_REFUSED: Duration = Duration::from_secs(60);

/// A ServiceAccount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Nobody to ask for one.
    #[error(
        "the controller does not know whose tokens publish: give it --publisher-service-account and \
         --publisher-service-account-namespace"
    )]
    NoAccount,
    /// The API server gives none.
    #[error("token for ServiceAccount {name} in namespace {namespace}: {}", told(source))]
    Api {
        /// The ServiceAccount.
        name: String,
        /// Its namespace.
        namespace: String,
        /// What went wrong.
        source: Box<kube::Error>,
    },
    /// The API server's answer holds none.
    #[error("the API server answered without a token")]
    Empty,
}

/// Keeps a token for each audience until four fifths of its life are over.
pub struct Tokens {
    client: Client,
    account: Option<Account>,
    metrics: Metrics,
    // Held while one is asked for, so that many who need it ask once.
    kept: Mutex<HashMap<String, HeldToken>>,
}

struct HeldToken {
    token: Arc<str>,
    got: Instant,
    until: Instant,
}

impl Tokens {
    /// None yet.
    #[must_use]
    pub fn new(client: Client, account: Option<Account>, metrics: Metrics) -> Self {
        Self { client, account, metrics, kept: Mutex::default() }
    }

    /// A token for an audience.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn of(&self, audience: &str) -> Result<Arc<str>, TokenError> {
        let mut kept = self.kept.lock().await;
        let now = Instant::now();
        if let Some(kept) = kept.get(audience).filter(|kept| now < kept.until) {
            return Ok(Arc::clone(&kept.token));
        }
        let (token, life) = self.request(audience).await?;
        let until = now + life.mul_f64(0.8);
        // Networks that are gone leave none.
        kept.retain(|_, kept| now < kept.until);
        kept.insert(audience.to_owned(), HeldToken { token: Arc::clone(&token), got: now, until });
        Ok(token)
    }

    /// A central node did not take this token: the next one is a new one, unless this one is quite new.
    pub(crate) async fn refused(&self, audience: &str, token: &str) {
        let mut kept = self.kept.lock().await;
        if kept.get(audience).is_some_and(|k| &*k.token == token && k.got.elapsed() >= YOUNGEST_REFUSED) {
            kept.remove(audience);
        }
    }

    async fn request(&self, audience: &str) -> Result<(Arc<str>, Duration), TokenError> {
        let Account { namespace, name } = self.account.as_ref().ok_or(TokenError::NoAccount)?;
        let spec = TokenRequestSpec {
            audiences: vec![audience.to_owned()],
            expiration_seconds: Some(LIFE_SECONDS),
            ..TokenRequestSpec::default()
        };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        self.metrics.called("create", "serviceaccounts/token");
        let answer =
            api.create_token_request(name, &PostParams::default(), &request).await.map_err(|error| {
                TokenError::Api { name: name.clone(), namespace: namespace.clone(), source: Box::new(error) }
            })?;
        let seconds = answer.spec.expiration_seconds.unwrap_or(LIFE_SECONDS).max(0).unsigned_abs();
        let token = answer.status.map(|status| status.token).filter(|token| !token.is_empty());
        Ok((token.ok_or(TokenError::Empty)?.into(), Duration::from_secs(seconds)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::future::join_all;
    use serde_json::json;

    use super::*;
    use crate::fixtures::Scene;

    /// An API server that gives tokens of ten minutes, numbered.
    fn numbered() -> (Scene, Tokens) {
        let given = AtomicU32::new(0);
        let scene = Scene::new(move |call| {
            assert_eq!(call.path, "/api/v1/namespaces/system/serviceaccounts/me/token");
            assert_eq!(call.body["spec"]["expirationSeconds"], 3600);
            let mut spec = call.body["spec"].clone();
            spec["expirationSeconds"] = json!(600);
            let token =
                format!("{}-{}", spec["audiences"][0].as_str()?, given.fetch_add(1, Ordering::Relaxed));
            let status = json!({"token": token, "expirationTimestamp": "2026-11-22T11:00:00Z"});
            Some((200, json!({"metadata": {}, "spec": spec, "status": status})))
        });
        let account = Account { namespace: "system".into(), name: "me".into() };
        let tokens = Tokens::new(scene.ctx.client.clone(), Some(account), scene.ctx.metrics.clone());
        (scene, tokens)
    }

    #[tokio::test(start_paused = true)]
    async fn one_is_kept_for_four_fifths_of_its_life() {
        let (_scene, tokens) = numbered();
        let many = join_all((0..20).map(|_| tokens.of("a.test"))).await;
        assert!(many.iter().all(|token| &**token.as_ref().unwrap() == "a.test-0"), "asked for once");
        assert_eq!(&*tokens.of("b.test").await.unwrap(), "b.test-1", "for one network each");
        tokio::time::advance(Duration::from_secs(479)).await;
        assert_eq!(&*tokens.of("a.test").await.unwrap(), "a.test-0");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(&*tokens.of("a.test").await.unwrap(), "a.test-2");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_not_taken_is_replaced_unless_it_is_new() {
        let (_scene, tokens) = numbered();
        let first = tokens.of("a.test").await.unwrap();
        tokens.refused("a.test", &first).await;
        assert_eq!(tokens.of("a.test").await.unwrap(), first);
        tokio::time::advance(YOUNGEST_REFUSED).await;
        tokens.refused("a.test", "an older one").await;
        assert_eq!(tokens.of("a.test").await.unwrap(), first);
        tokens.refused("a.test", &first).await;
        assert_eq!(&*tokens.of("a.test").await.unwrap(), "a.test-1");
    }

    #[tokio::test]
    async fn why_there_is_none_is_told() {
        let scene = Scene::new(|_| {
            let message = "serviceaccounts \"me\" is forbidden";
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403,
                "reason": "Forbidden", "message": message});
            Some((403, status))
        });
        let (client, metrics) = (scene.ctx.client.clone(), scene.ctx.metrics.clone());
        let account = Account { namespace: "system".into(), name: "me".into() };
        let refused = Tokens::new(client.clone(), Some(account), metrics.clone()).of("a.test").await;
        let told = refused.unwrap_err().to_string();
        assert!(told.starts_with("token for ServiceAccount me in namespace system: "), "{told}");
        assert!(told.contains("is forbidden"), "{told}");
        let nobody = Tokens::new(client, None, metrics).of("a.test").await;
        assert!(nobody.unwrap_err().to_string().contains("--publisher-service-account"));
    }
}
