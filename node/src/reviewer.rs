//! Tokens that the Kubernetes API server knows: TokenReview says whose a token is, LocalSubjectAccessReview whether RBAC
//! lets that user publish. A token is good for one namespace's network: its audience names both.

use async_trait::async_trait;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec, UserInfo},
    authorization::v1::{
        LocalSubjectAccessReview, ResourceAttributes, SubjectAccessReviewSpec, SubjectAccessReviewStatus,
    },
};
use kube::{
    Api, Client, Resource as _,
    api::{ObjectMeta, PostParams},
};
use serde::Deserialize;
use sorcha_config::Config;
use sorcha_crds::SorchaCentralNode;
use sorcha_http::auth::{Review, ReviewError, Reviewer, Verdict};
use sorcha_register::{clock::Timestamp, limits};
use tracing::{Dispatch, instrument::WithSubscriber as _};

use crate::kubernetes::{self, NoCluster, Unusable};

/// The verb that publishers need on the central node's resource.
pub(crate) const VERB: &str = "publish";
/// Longest text of the API server that is handed on, characters.
const TOLD_CHARS: usize = 300;

/// The setting that has tokens reviewed.
const SETTING: &str = "http.kubernetes.enabled";

/// Asks the API server.
pub(crate) struct KubernetesReviewer {
    client: Client,
    audience: String,
    resource: String,
    namespace: String,
    how_to_get_one: String,
}

/// The reviewer of a configured node; `None` when it asks nobody. Nothing is asked of the API server yet.
///
/// # Errors
/// [`Unusable`] when `http.kubernetes` is on and can't be used.
pub(crate) async fn connect(config: &Config) -> Result<Option<KubernetesReviewer>, Unusable> {
    connect_to(config, kubernetes::cluster()).await
}

async fn connect_to(
    config: &Config,
    cluster: impl Future<Output = Result<kube::Config, NoCluster>>,
) -> Result<Option<KubernetesReviewer>, Unusable> {
    let Some(resource) = config.reviewed_resource()? else { return Ok(None) };
    let cluster = cluster.await.map_err(|source| Unusable::NoCluster { setting: SETTING, source })?;
    let reviews = &config.http.kubernetes;
    let namespace = reviews.namespace.as_ref().or(config.report.namespace.as_ref());
    let namespace = namespace.unwrap_or(&cluster.default_namespace).clone();
    let client = kubernetes::client(cluster, reviews.timeout, SETTING)?;
    let reviewer = KubernetesReviewer::new(client, &config.node.network, resource, &namespace);
    let audience = &reviewer.audience;
    tracing::info!(audience, resource, namespace, "publishers are whom Kubernetes lets publish");
    Ok(Some(reviewer))
}

impl KubernetesReviewer {
    /// A reviewer of tokens for a network's central node resource of a name and namespace.
    #[must_use]
    pub(crate) fn new(client: Client, network: &str, resource: &str, namespace: &str) -> Self {
        let audience = sorcha_crds::publish_audience(namespace, network);
        let how = format!(
            "a ServiceAccount's token is made by `kubectl create token NAME --audience {audience}`, or projected into a pod for \
             that audience"
        );
        Self {
            client,
            audience,
            resource: resource.to_owned(),
            namespace: namespace.to_owned(),
            how_to_get_one: how,
        }
    }

    async fn create<K>(&self, api: Api<K>, object: K) -> Result<K, ReviewError>
    where
        K: kube::Resource<DynamicType = ()>
            + Clone
            + serde::Serialize
            + serde::de::DeserializeOwned
            + std::fmt::Debug,
    {
        let parameters = PostParams::default();
        // The client logs each failure as an error; who asked is told, and the audit log tells.
        let answer = api.create(&parameters, &object).with_subscriber(Dispatch::none()).await;
        answer.map_err(|error| match error {
            kube::Error::Api(status) if status.code == 403 => ReviewError::NotAllowed(told(&status.message)),
            kube::Error::Api(status) => {
                ReviewError::Away(told(&format!("{} {}", status.code, status.message)))
            }
            error => ReviewError::Away(told(&kubernetes::text(&error))),
        })
    }

    /// Whose the token is, or why it is nobody's.
    async fn user(&self, token: &str) -> Result<Result<UserInfo, String>, ReviewError> {
        let spec =
            TokenReviewSpec { token: Some(token.to_owned()), audiences: Some(vec![self.audience.clone()]) };
        let api = Api::all(self.client.clone());
        let review = self.create(api, TokenReview { spec, ..TokenReview::default() }).await?;
        let status = review.status.unwrap_or_default();
        if status.authenticated != Some(true) {
            let why = status.error.unwrap_or_else(|| "it is not known".to_owned());
            return Ok(Err(told(&why)));
        }
        // A server that knows nothing of audiences would take a token that was made for anything.
        if !status.audiences.unwrap_or_default().contains(&self.audience) {
            return Ok(Err(format!("it is not made for {}", self.audience)));
        }
        Ok(Ok(status.user.unwrap_or_default()))
    }

    async fn access(&self, user: UserInfo) -> Result<SubjectAccessReviewStatus, ReviewError> {
        let spec = SubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                group: Some(SorchaCentralNode::group(&()).into_owned()),
                version: Some(SorchaCentralNode::version(&()).into_owned()),
                resource: Some(SorchaCentralNode::plural(&()).into_owned()),
                name: Some(self.resource.clone()),
                namespace: Some(self.namespace.clone()),
                verb: Some(VERB.to_owned()),
                ..ResourceAttributes::default()
            }),
            user: user.username,
            uid: user.uid,
            groups: user.groups,
            extra: user.extra,
            ..SubjectAccessReviewSpec::default()
        };
        let metadata = ObjectMeta { namespace: Some(self.namespace.clone()), ..ObjectMeta::default() };
        let api = Api::namespaced(self.client.clone(), &self.namespace);
        let review = LocalSubjectAccessReview { metadata, spec, ..LocalSubjectAccessReview::default() };
        let review = self.create(api, review).await?;
        Ok(review.status.unwrap_or_default())
    }

    /// What a user needs, and how it is granted.
    fn needs(&self, name: &str, status: &SubjectAccessReviewStatus) -> String {
        let Self { resource, namespace, .. } = self;
        let (plural, group) = (SorchaCentralNode::plural(&()), SorchaCentralNode::group(&()));
        let subject = match name.strip_prefix("system:serviceaccount:") {
            Some(account) => format!("--serviceaccount={account}"),
            None => format!("--user={name}"),
        };
        let mut why = format!(
            "{name} needs the verb {VERB} on {plural}.{group}/{resource} in namespace {namespace}; an administrator of that \
             namespace grants it on all its central nodes by `kubectl -n {namespace} create rolebinding publishers \
             --clusterrole=sorcha-publisher {subject}` (of a release named sorcha), or by a Role of its own"
        );
        let details = [status.reason.as_deref(), status.evaluation_error.as_deref()];
        for detail in details.into_iter().flatten().filter(|detail| !detail.is_empty()) {
            why += &format!(" ({})", told(detail));
        }
        why
    }
}

#[async_trait]
impl Reviewer for KubernetesReviewer {
    async fn review(&self, token: &str) -> Result<Review, ReviewError> {
        let user = match self.user(token).await? {
            Ok(user) => user,
            Err(why) => return Ok(Review { verdict: Verdict::Unknown { why }, until: None }),
        };
        let name = user.username.clone().unwrap_or_default();
        if !(1..=limits::PUBLISHED_BY_CHARS).contains(&name.chars().count()) {
            let limit = limits::PUBLISHED_BY_CHARS;
            let why = format!(
                "the user's name has {} characters; the register records 1 to {limit}: use a ServiceAccount with a shorter one",
                name.chars().count()
            );
            return Ok(Review { verdict: Verdict::MayNot { name: told(&name), why }, until: None });
        }
        let status = self.access(user).await?;
        let verdict = if status.allowed && status.denied != Some(true) {
            Verdict::MayWrite { name }
        } else {
            Verdict::MayNot { why: self.needs(&name, &status), name }
        };
        Ok(Review { verdict, until: end(token) })
    }

    fn how_to_get_one(&self) -> &str {
        &self.how_to_get_one
    }
}

/// The end of a token, where it states one. Only asked of tokens that the API server has taken.
fn end(token: &str) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Claims {
        exp: i64,
    }
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let Claims { exp } = serde_json::from_slice(&claims).ok()?;
    exp.checked_mul(1000).map(Timestamp::from_millis)
}

/// A text of the API server, in one line and not too long.
fn told(text: &str) -> String {
    text.chars().take(TOLD_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod router_tests;
#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let mut config = Config::default().with_identity("n0.sorcha.dev");
        config.report.resource = Some("sorchacentralnodes/n0".into());
        config.http.kubernetes.enabled = true;
        config
    }

    async fn somewhere() -> Result<kube::Config, NoCluster> {
        let mut cluster = kube::Config::new("https://127.0.0.1:1".parse()?);
        cluster.default_namespace = "shop".to_owned();
        Ok(cluster)
    }

    #[tokio::test]
    async fn resource_and_namespace_are_those_of_the_report_unless_others_are_named() {
        let made = async |config: Config| {
            let made = connect_to(&config, somewhere()).await.unwrap().unwrap();
            (made.resource, made.namespace, made.audience)
        };
        assert_eq!(
            made(config()).await,
            ("n0".into(), "shop".into(), "publish.sorcha.dev/shop/sorcha.dev".into())
        );
        let mut reporting = config();
        reporting.report.namespace = Some("registers".into());
        reporting.node.network = "orders.test".into();
        let own = made(reporting.clone()).await;
        assert_eq!(
            (own.1.as_str(), own.2.as_str()),
            ("registers", "publish.sorcha.dev/registers/orders.test")
        );
        reporting.http.kubernetes.namespace = Some("elsewhere".into());
        assert_eq!(made(reporting).await.2, "publish.sorcha.dev/elsewhere/orders.test");
    }

    #[tokio::test]
    async fn without_a_cluster_the_setting_is_named() {
        let nowhere = async { Err("no kubeconfig".into()) };
        let told = connect_to(&config(), nowhere).await.err().unwrap().to_string();
        assert!(told.contains("http.kubernetes.enabled") && told.contains("outside Kubernetes"), "{told}");
        assert!(connect(&Config::default()).await.unwrap().is_none(), "off by default");
    }

    #[tokio::test]
    async fn a_server_that_is_away_is_no_answer() {
        let made = connect_to(&config(), somewhere()).await.unwrap().unwrap();
        let away = made.review("a-token-0123456789").await.unwrap_err();
        assert!(matches!(&away, ReviewError::Away(why) if why.contains("refused")), "{away:?}");
        assert!(!away.to_string().contains("a-token"));
    }

    #[test]
    fn ends_are_read_from_tokens_that_state_one() {
        let token = |claims: &str| format!("h.{}.s", BASE64_URL_SAFE_NO_PAD.encode(claims));
        assert_eq!(
            end(&token(r#"{"exp": 1763800200, "iss": "x"}"#)),
            Some(Timestamp::from_millis(1_763_800_200_000))
        );
        for other in ["opaque", "h.%%.s", "h..s", &token("{}"), &token(r#"{"exp": 9223372036854775807}"#)] {
            assert_eq!(end(other), None, "{other}");
        }
    }
}
