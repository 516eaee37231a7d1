//! Requests against the router of each role: what comes back, header by header.

mod arbitrary;
mod audit;
mod auth;
mod bodies;
mod bundles;
mod documents;
mod health;
mod node;
mod peer;
mod peers;
mod reads;
mod server;
mod starting;
mod writes;

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, Bytes},
    http::{Method, Request, StatusCode},
};
use serde_json::Value;
use sorcha_central::CentralNode;
use sorcha_config::Config;
use sorcha_peer::{PeerNode, dial::PlainText, replica::Replica};
use sorcha_register::{
    clock::Timestamp,
    integrity::Finding,
    names::{PeerId, Version},
    testing::{entry, genesis},
    view::RegisterView,
};
use sorcha_runtime::{clock::VirtualClock, env::Env, metrics::Metrics};
use sorcha_store::{Store as _, journal::JournalStore};

use super::{Auth, NodeHandle, problem, router};
use crate::testing::*;

const PUBLISH: &str = "/api/system-register/publish";
