//! The blueprints that the demo publishes.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use sorcha_register::names::BlueprintId;

/// The repository's sample blueprints, found from the source tree that this binary was built in.
const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../blueprints");

#[derive(Clone, Debug)]
pub(super) struct Blueprint {
    pub(super) id: String,
    pub(super) json: Vec<u8>,
}

/// Why the blueprints can't be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message names each field")]
pub enum BlueprintsError {
    /// A folder or file can't be read.
    #[error("read {path}: {source}; name a folder of JSON documents with --blueprints")]
    Read { path: PathBuf, source: io::Error },
    /// Fewer than two documents.
    #[error("{0} holds fewer than two .json documents; name another folder with --blueprints")]
    TooFew(PathBuf),
}

/// Reads the folder's `.json` files, in the order of their names. The id is the document's own, else the file's name.
pub(super) fn load(folder: Option<&Path>) -> Result<Vec<Blueprint>, BlueprintsError> {
    let local = Path::new("blueprints");
    let folder = folder.unwrap_or(if local.is_dir() { local } else { Path::new(SAMPLES) });
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| BlueprintsError::Read { path, source }
    };
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .map_err(failed(folder))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    if files.len() < 2 {
        return Err(BlueprintsError::TooFew(folder.to_owned()));
    }
    files
        .iter()
        .map(|path| {
            fs::read(path).map_err(failed(path)).map(|json| Blueprint { id: id_of(path, &json), json })
        })
        .collect()
}

fn id_of(path: &Path, json: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Identified {
        id: String,
    }
    let stated = serde_json::from_slice::<Identified>(json).ok().map(|document| document.id);
    let stem = || path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    stated.filter(|id| BlueprintId::new(id).is_ok()).unwrap_or_else(stem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sorcha_register::canonical::Document;

    #[test]
    fn at_least_twelve_samples_are_acceptable_documents() {
        let samples = load(Some(Path::new(SAMPLES))).unwrap();
        assert!(samples.len() >= 12);
        for sample in samples {
            Document::canonicalize(&sample.json).unwrap_or_else(|error| panic!("{}: {error}", sample.id));
            BlueprintId::new(&sample.id).unwrap();
        }
    }

    #[test]
    fn an_empty_folder_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        assert!(load(Some(folder.path())).unwrap_err().to_string().contains("--blueprints"));
        assert!(load(Some(Path::new("/nowhere"))).unwrap_err().to_string().contains("/nowhere"));
    }
}
