//! `deprecate` and `reactivate`.

use std::time::Duration;

use clap::Args;
use serde_json::json;
use sorcha_register::names::BlueprintId;

use super::{
    Outcome, OutputFormat,
    api::{Api, ApiArgs},
    console::Console,
};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Flags of `deprecate` and `reactivate`.
#[derive(Debug, Args)]
#[command(
    after_help = "The change takes a new version of the register, so peers get it as they get publications.\n\
    A deprecated blueprint stays readable; peers that copy the whole register anew leave it out.\n\
    \n\
    Examples:\n  \
    sorcha-node deprecate invoice-v1 --token-file token\n  \
    sorcha-node reactivate invoice-v1 --url http://n0.sorcha.dev:8080 --token-file token"
)]
pub struct ChangeArgs {
    /// Id of the blueprint
    #[arg(value_name = "ID")]
    pub id: BlueprintId,
    /// The node to talk to.
    #[command(flatten)]
    pub api: ApiArgs,
    /// Format of the output
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub output: OutputFormat,
}

/// What to do with a blueprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// No longer to be used.
    Deprecate,
    /// To be used again.
    Reactivate,
}

impl Change {
    const fn state(self) -> &'static str {
        match self {
            Self::Deprecate => "deprecated",
            Self::Reactivate => "active",
        }
    }
}

/// Changes the state of a blueprint.
///
/// # Errors
/// What the node says, or that it is away.
pub(crate) async fn run(
    args: &ChangeArgs,
    change: Change,
    console: &mut Console<'_>,
) -> anyhow::Result<Outcome> {
    let api = Api::new(&args.api.writing(), TIMEOUT)?;
    let answer = api.set_active(args.id.as_str(), change == Change::Reactivate).await?;
    match args.output {
        OutputFormat::Table => {
            writeln!(console.out, "{} is {}, at version {}", args.id, change.state(), answer.version)?;
        }
        OutputFormat::Json => {
            let line = json!({
                "blueprintId": args.id, "result": change.state(), "version": answer.version,
                "transactionId": answer.transaction_id, "publishedAt": answer.published_at,
            });
            writeln!(console.out, "{line}")?;
        }
    }
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use axum::{
        Json, Router,
        extract::Path,
        http::{HeaderMap, StatusCode},
        routing::post,
    };

    use super::*;
    use crate::cli::{api::tests::serve, console::tests::on_console};

    const THEN: &str = "2026-01-01T00:00:00.000Z";

    async fn args(id: &str, output: OutputFormat) -> (ChangeArgs, tempfile::NamedTempFile) {
        let handler = |Path((id, verb)): Path<(String, String)>, headers: HeaderMap| async move {
            if headers.get("authorization").is_none_or(|value| value != "Bearer s3cret") {
                return (StatusCode::UNAUTHORIZED, Json(json!({"title": "No token"})));
            }
            if id == "unknown" {
                let detail = format!("cannot {verb} what is not published");
                return (
                    StatusCode::NOT_FOUND,
                    Json(json!({"title": "Not found", "status": 404, "detail": detail})),
                );
            }
            (
                StatusCode::OK,
                Json(json!({
                    "transactionId": "tx", "blueprintId": id, "version": 9, "publishedAt": THEN, "checksum": "sha256:0", "isActive": false,
                })),
            )
        };
        let url =
            serve(Router::new().route("/api/system-register/blueprints/{id}/{verb}", post(handler))).await;
        let token = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(token.path(), "ci: s3cret\n").unwrap();
        let api = ApiArgs { url, token_file: Some(token.path().to_owned()) };
        (ChangeArgs { id: BlueprintId::new(id).unwrap(), api, output }, token)
    }

    #[tokio::test]
    async fn tells_the_version_of_the_change() {
        let (args, _token) = args("invoice-v1", OutputFormat::Table).await;
        let (result, out, _) = on_console!(None, |console| run(&args, Change::Deprecate, &mut console));
        assert_eq!(
            (result.unwrap(), out.as_str()),
            (Outcome::Done, "invoice-v1 is deprecated, at version 9\n")
        );
        let (_, out, _) = on_console!(None, |console| run(&args, Change::Reactivate, &mut console));
        assert_eq!(out, "invoice-v1 is active, at version 9\n");
    }

    #[tokio::test]
    async fn tells_programs_the_whole_answer() {
        let (args, _token) = args("invoice-v1", OutputFormat::Json).await;
        let (_, out, _) = on_console!(None, |console| run(&args, Change::Deprecate, &mut console));
        let line: serde_json::Value = serde_json::from_str(&out).unwrap();
        let expected = json!({"blueprintId": "invoice-v1", "result": "deprecated", "version": 9, "transactionId": "tx", "publishedAt": THEN});
        assert_eq!(line, expected);
    }

    #[tokio::test]
    async fn tells_why_not() {
        let (mut args, _token) = args("unknown", OutputFormat::Table).await;
        let (result, _, _) = on_console!(None, |console| run(&args, Change::Deprecate, &mut console));
        assert_eq!(result.unwrap_err().to_string(), "Not found: cannot deprecate what is not published");
        args.api.token_file = None;
        let (result, _, _) = on_console!(None, |console| run(&args, Change::Deprecate, &mut console));
        assert!(result.unwrap_err().to_string().contains("No token; give a token with --token-file"));
    }
}
