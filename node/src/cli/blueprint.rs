//! A blueprint document on its way from a file to a node.

use std::{fs::File, io::Read, path::Path};

use anyhow::{Context as _, bail};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;
use sorcha_register::{canonical::Document, limits, names::BlueprintId};

/// White space may double a document before it is brought into canonical form.
pub(crate) const FILE_BYTES: u64 = 2 * limits::DOCUMENT_BYTES as u64;

/// Whether a file argument stands for standard input.
pub(crate) fn is_stdin(file: &Path) -> bool {
    file == Path::new("-")
}

/// A document ready to be sent.
#[derive(Debug)]
pub(crate) struct Blueprint {
    pub(crate) id: BlueprintId,
    pub(crate) document: Document,
    pub(crate) has_context: bool,
}

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "@context")]
    context: Option<IgnoredAny>,
    id: Option<Value>,
}

/// Checks a document here, where the file can be named, and brings it into the form that is stored anyway.
pub(crate) fn prepare(file: &Path, id: Option<&BlueprintId>) -> anyhow::Result<Blueprint> {
    let bytes = if is_stdin(file) { read_bounded(std::io::stdin().lock())? } else { read_file(file)? };
    let document = Document::canonicalize(&bytes)?;
    let Head { context, id: stated } = serde_json::from_slice(document.bytes())?;
    let id = match id {
        Some(id) => id.clone(),
        None => choose_id(stated.as_ref().and_then(Value::as_str), file)?,
    };
    Ok(Blueprint { id, document, has_context: context.is_some() })
}

fn choose_id(stated: Option<&str>, file: &Path) -> anyhow::Result<BlueprintId> {
    if let Some(Ok(id)) = stated.map(BlueprintId::new) {
        return Ok(id);
    }
    if is_stdin(file) {
        bail!("the document has no valid id of its own; name one with --id");
    }
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    BlueprintId::new(&stem).with_context(|| {
        format!(
            "neither the document's id nor the file name {stem:?} is a valid blueprint id; name one with --id"
        )
    })
}

fn read_file(file: &Path) -> anyhow::Result<Vec<u8>> {
    let opened = File::open(file).context("open the file")?;
    let length = opened.metadata().context("open the file")?.len();
    if length > FILE_BYTES {
        bail!("the file has {length} bytes; the limit for a document is {} (16 MB)", limits::DOCUMENT_BYTES);
    }
    read_bounded(opened)
}

/// One byte over the limit is read, so that the document is refused for its size.
fn read_bounded(input: impl Read) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(FILE_BYTES + 1).read_to_end(&mut bytes).context("read the document")?;
    Ok(bytes)
}
