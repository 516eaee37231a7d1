//! `/api/system-register/bundle`: the whole register in one file, from a running node.

use std::{future::poll_fn, io, sync::Arc};

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::State,
    http::header,
    response::{IntoResponse as _, Response},
};
use futures::stream;
use sorcha_register::{
    bundle::{Header, Scope, WriteError, Writer},
    integrity,
    names::Version,
    view::RegisterView,
};
use sorcha_runtime::reading::Pieces;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    NodeHandle, Served,
    openapi::Fails,
    pieces::{PIECE_BYTES, first_piece},
    problem::{Kind, Problem},
    reading::Register,
};

/// A smaller entry is copied into a piece with others; a larger one is read and sent piece by piece.
const LARGE: usize = 16 * 1024;

pub(super) fn routes() -> OpenApiRouter<Served<NodeHandle>> {
    OpenApiRouter::default().routes(routes!(bundle))
}

/// The register as a bundle: genesis, all entries, digest and hash, as `sorcha-node register export` writes them.
///
/// It is of one version, whatever is published meanwhile. A central node that has the key of the register's creator signs it. A bundle that is cut
/// off has no hash at its end: `sorcha-node register export --url` verifies what it fetches.
#[utoipa::path(
    get, path = "/api/system-register/bundle", tag = "register",
    responses(
        (
            status = 200, description = "A bundle; `register verify --bundle` checks it", body = Vec<u8>,
            content_type = "application/octet-stream", example = json!("SORCHA-BUNDLE…")
        ),
        Fails<404>, Fails<503>
    )
)]
async fn bundle(
    State(node): State<NodeHandle>,
    Extension(register): Extension<Arc<Register>>,
) -> Result<Response, Problem> {
    if !register.findings().is_empty() {
        return Err(Problem::new(Kind::DAMAGED, integrity::summary(register.findings())));
    }
    let view = register.view.clone();
    if view.genesis().is_none() {
        return Err(Problem::new(Kind::NOT_FOUND, "this node holds no register yet".to_owned()));
    }
    let refused = |error: WriteError| Problem::new(Kind::INTERNAL, error.to_string());
    let header = Header::of(&view, Scope::Whole, node.id(), node.env().clock.now()).map_err(refused)?;
    let writer = Writer::of_view(Vec::new(), &header, node.signing_key()).map_err(refused)?;
    let name = format!("attachment; filename=\"register-{}.sorcha\"", header.head);
    let pieces = stream::try_unfold(
        Some(Export { writer, view, sent: Version::ZERO, entry: None, read: Bytes::new() }),
        piece,
    );
    let headers =
        [(header::CONTENT_TYPE, "application/octet-stream".to_owned()), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// A bundle on its way: nothing of it is held but a piece of small entries and the register itself.
struct Export {
    writer: Writer<Vec<u8>>,
    view: RegisterView,
    sent: Version,
    /// What is left of a large entry.
    entry: Option<Pieces>,
    /// What is left of the piece of it that was read last.
    read: Bytes,
}

/// The next piece.
async fn piece(export: Option<Export>) -> io::Result<Option<(Bytes, Option<Export>)>> {
    let Some(mut export) = export else { return Ok(None) };
    loop {
        let gathered = export.writer.output().len();
        if gathered >= PIECE_BYTES || (gathered > 0 && export.entry.is_some()) {
            let piece = std::mem::take(export.writer.output());
            return Ok(Some((piece.into(), Some(export))));
        }
        if !export.read.is_empty() {
            let piece = first_piece(&mut export.read);
            export.writer.passed(&piece);
            return Ok(Some((piece, Some(export))));
        }
        if let Some(entry) = &mut export.entry {
            match poll_fn(|cx| entry.poll_next(cx)).await.transpose()? {
                Some(read) => export.read = read,
                None => export.entry = None,
            }
            continue;
        }
        let Some(sealed) = export.view.next_after(export.sent).cloned() else { break };
        export.sent = sealed.entry().version;
        if sealed.length() < LARGE {
            export.writer.entry(&sealed).map_err(io::Error::other)?;
        } else {
            export.entry = Some(Pieces::of(export.writer.begin(&sealed).map_err(io::Error::other)?));
        }
    }
    let last = export.writer.finish().map_err(io::Error::other)?;
    Ok(Some((last.into(), None)))
}
