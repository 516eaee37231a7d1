//! `/api/system-register`: the register as a whole, and its genesis.

use std::sync::Arc;

use axum::{
    Extension,
    http::header,
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sorcha_api::Instant;
use sorcha_proto::REGISTER_ID;
use sorcha_register::integrity::Finding;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    NodeHandle, Served,
    openapi::Fails,
    problem::{Kind, Problem},
    reading::Register,
};

pub(super) fn routes() -> OpenApiRouter<Served<NodeHandle>> {
    OpenApiRouter::default().routes(routes!(system_register)).routes(routes!(genesis))
}

/// Name of a register whose genesis is not known yet.
const NAME: &str = "Sorcha System Register";

/// State of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
enum RegisterStatus {
    /// Sound.
    Online,
    /// Nothing is held yet.
    Uninitialized,
    /// It failed its integrity check; `findings` tells where.
    Damaged,
}

/// The register as this node holds it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "registerId": "00000000-0000-0000-0000-000000000000", "name": "Sorcha System Register", "status": "Online",
    "blueprintCount": 41, "activeCount": 40, "currentVersion": 42, "height": 42, "createdAt": "2026-11-22T09:30:00.000Z",
    "lineage": "9f0c…", "digest": "51ab…", "findings": []
}))]
struct RegisterView {
    register_id: &'static str,
    name: String,
    status: RegisterStatus,
    /// Entries held. A peer that started by a full sync holds active ones only.
    blueprint_count: usize,
    /// Those of them that are not deprecated.
    active_count: usize,
    /// Newest version held; 0 when empty.
    current_version: i64,
    /// The same.
    height: i64,
    /// Instant of the genesis; absent until that is known.
    created_at: Option<Instant>,
    /// Hex SHA-256 of the genesis record.
    lineage: Option<String>,
    /// Hex digest of the register at `currentVersion`.
    digest: String,
    findings: Vec<FindingView>,
}

/// Something in the stored register that must not be.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"version": 7, "blueprintId": "invoice-v1", "problem": "version 7, blueprint invoice-v1: missing"}))]
struct FindingView {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blueprint_id: Option<String>,
    /// What is wrong, in one line.
    problem: String,
}

impl From<&Finding> for FindingView {
    fn from(finding: &Finding) -> Self {
        Self {
            version: finding.version.map(|version| version.get()),
            blueprint_id: finding.blueprint_id.as_ref().map(ToString::to_string),
            problem: finding.to_string(),
        }
    }
}

impl From<&Register> for RegisterView {
    fn from(register: &Register) -> Self {
        let (view, findings) = (&register.view, register.findings());
        let record = view.genesis().map(|genesis| genesis.record());
        let status = match findings {
            [] if view.is_empty() && record.is_none() => RegisterStatus::Uninitialized,
            [] => RegisterStatus::Online,
            _ => RegisterStatus::Damaged,
        };
        Self {
            register_id: REGISTER_ID,
            name: record.map_or(NAME.to_owned(), |record| record.name.clone()),
            status,
            blueprint_count: view.len(),
            active_count: view.active(),
            current_version: view.head().get(),
            height: view.head().get(),
            created_at: record.map(|record| record.created_at.into()),
            lineage: view.lineage().map(|lineage| lineage.to_string()),
            digest: view.digest().to_string(),
            findings: findings.iter().map(Into::into).collect(),
        }
    }
}

/// The register as a whole: how much it holds, at which version, of which lineage, and whether it is sound.
#[utoipa::path(
    get, path = "/api/system-register", tag = "register",
    responses((status = 200, description = "The register", body = RegisterView))
)]
async fn system_register(Extension(register): Extension<Arc<Register>>) -> Result<Response, Problem> {
    let body = serde_json::to_vec(&RegisterView::from(&*register))
        .map_err(|error| Problem::new(Kind::INTERNAL, error.to_string()))?;
    register.answer(&hex::encode(Sha256::digest(&body)), || {
        Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
    })
}

/// The signed genesis record, byte for byte: SHA-256 of these bytes is the lineage.
#[utoipa::path(
    get, path = "/api/system-register/genesis", tag = "register",
    responses(
        (
            status = 200, description = "Record and Ed25519 signature, canonical JSON", body = serde_json::Value,
            example = json!({
                "record": {"registerId": "00000000-0000-0000-0000-000000000000", "createdBy": "n0.sorcha.dev"},
                "signature": "3b0a…"
            })
        ),
        Fails<404>
    )
)]
async fn genesis(Extension(register): Extension<Arc<Register>>) -> Result<Response, Problem> {
    let genesis = register
        .view
        .genesis()
        .ok_or_else(|| Problem::new(Kind::NOT_FOUND, "this node does not know the register's genesis yet"))?;
    register.answer(&genesis.lineage().to_string(), || {
        Ok(([(header::CONTENT_TYPE, "application/json")], genesis.bytes().clone()).into_response())
    })
}
