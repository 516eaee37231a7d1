//! The HTTP API of a node (protocol section 8): health, metrics, the register, and what each role adds; and the server that
//! bounds its callers. Begin with [`router`] and [`serve`].
//!
//! Each resource is a file; its handlers carry their own OpenAPI description, and [`openapi()`] collects both roles'.
//! A router serves one role: paths of the other one answer 404 and say so. Deliberately absent: any state of its
//! own, caching, and calls to other nodes. Errors are problem documents without exception (`problem`).

mod answers;
mod audit;
pub mod auth;
mod blueprint;
mod blueprints;
mod body;
mod bundle;
mod central_nodes;
mod connection;
mod docs;
mod health;
mod heartbeat;
mod intake;
mod metered;
mod metrics;
mod node;
mod notifications;
mod openapi;
mod pace;
mod peers;
mod pieces;
mod places;
mod probes;
mod problem;
mod publish;
mod query;
mod reading;
mod register;
mod secure;
mod serve;
mod starting;
mod submission;
mod sync;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{FromRef, Request},
    middleware::{from_fn, from_fn_with_state},
    routing::any,
};
use ed25519_dalek::SigningKey;
use sorcha_central::CentralNode;
use sorcha_config::{Config, Role};
use sorcha_peer::PeerNode;
use sorcha_runtime::env::Env;
use utoipa_axum::router::OpenApiRouter;

use self::{
    answers::Room,
    problem::{Kind, Problem},
};
pub use self::{
    audit::AUDIT,
    auth::Auth,
    openapi::openapi,
    probes::{Pulse, start as start_probes},
    secure::serve_secured,
    serve::{serve, serve_on},
    starting::{Stage, front},
};

/// The node that an API speaks for.
#[derive(Clone)]
pub enum NodeHandle {
    /// A central node.
    Central(Arc<CentralNode>),
    /// A peer.
    Peer(Arc<PeerNode>),
}

impl NodeHandle {
    const fn role(&self) -> Role {
        match self {
            Self::Central(_) => Role::Central,
            Self::Peer(_) => Role::Peer,
        }
    }

    fn id(&self) -> &str {
        match self {
            Self::Central(node) => node.id(),
            Self::Peer(node) => node.id.as_str(),
        }
    }

    fn config(&self) -> &Config {
        match self {
            Self::Central(node) => &node.config,
            Self::Peer(node) => &node.config,
        }
    }

    fn env(&self) -> &Env {
        match self {
            Self::Central(node) => &node.env,
            Self::Peer(node) => &node.env,
        }
    }

    /// The key of the register's creator, where the node may have it.
    fn signing_key(&self) -> Option<&SigningKey> {
        match self {
            Self::Central(node) => node.signing_key(),
            Self::Peer(_) => None,
        }
    }

    fn uptime(&self) -> Duration {
        match self {
            Self::Central(node) => node.uptime(),
            Self::Peer(node) => node.uptime(),
        }
    }
}

/// What handlers are given: the node in the form that they need, and who may write.
#[derive(Clone)]
struct Served<N> {
    node: N,
    auth: Auth,
}

impl<N> FromRef<Served<N>> for Auth {
    fn from_ref(served: &Served<N>) -> Self {
        served.auth.clone()
    }
}

macro_rules! served_as {
    ($($node:ty),*) => {
        $(impl FromRef<Served<$node>> for $node {
            fn from_ref(served: &Served<$node>) -> Self {
                served.node.clone()
            }
        })*
    };
}

served_as!(NodeHandle, Arc<CentralNode>, Arc<PeerNode>);

/// Name of a role, as the API spells it.
const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Central => "Central",
        Role::Peer => "Peer",
    }
}

/// What both roles serve, but for the register.
fn common_routes() -> OpenApiRouter<Served<NodeHandle>> {
    health::routes().merge(node::routes()).merge(central_nodes::routes())
}

/// The register, served by both roles; every answer states version and staleness.
fn register_routes() -> OpenApiRouter<Served<NodeHandle>> {
    register::routes().merge(bundle::routes()).merge(blueprints::routes()).merge(blueprint::routes())
}

fn central_routes() -> OpenApiRouter<Served<Arc<CentralNode>>> {
    publish::routes().merge(peers::routes())
}

fn peer_routes() -> OpenApiRouter<Served<Arc<PeerNode>>> {
    connection::routes().merge(sync::routes()).merge(heartbeat::routes()).merge(notifications::routes())
}

/// The API of a node. `metrics` is the registry that `/metrics` shows.
pub fn router(node: NodeHandle, auth: Auth, metrics: prometheus::Registry) -> Router {
    let reads =
        Router::from(register_routes()).route_layer(from_fn_with_state(node.clone(), reading::stated));
    let common = Router::from(common_routes()).merge(reads);
    let (own, others) = match &node {
        NodeHandle::Central(central) => {
            let served = Served { node: Arc::clone(central), auth: auth.clone() };
            let writes = publish::router(central);
            (writes.merge(Router::from(peers::routes())).with_state(served), paths(peer_routes()))
        }
        NodeHandle::Peer(peer) => {
            let served = Served { node: Arc::clone(peer), auth: auth.clone() };
            (Router::from(peer_routes().with_state(served)), paths(central_routes()))
        }
    };
    let (role, room) = (node.role(), Room::new(node.config().http.max_answer_bytes));
    let routes = common
        .with_state(Served { node, auth })
        .merge(Router::from(metrics::routes().with_state(metrics)))
        .merge(own)
        .merge(other_role(role, &others))
        .merge(docs::routes(&openapi()));
    // As a service, so that its answers are whole when they are looked at: `Allow` comes last.
    Router::new()
        .fallback_service(routes)
        .layer(from_fn_with_state(room, answers::bounded))
        .layer(from_fn(problem::finish))
}

fn paths<S: Clone + Send + Sync + 'static>(routes: OpenApiRouter<S>) -> Vec<String> {
    routes.into_openapi().paths.paths.into_keys().collect()
}

/// Answers for the paths that only the other role serves.
fn other_role(own: Role, paths: &[String]) -> Router {
    let other = match own {
        Role::Central => Role::Peer,
        Role::Peer => Role::Central,
    };
    let answer = move |request: Request| async move {
        let (path, other, own) = (request.uri().path(), role_name(other), role_name(own));
        let detail = format!("{path} is served by nodes of the role {other}; this node's role is {own}");
        Problem::new(Kind::OTHER_ROLE, detail)
    };
    paths.iter().fold(Router::new(), |router, path| router.route(path, any(answer)))
}

#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
