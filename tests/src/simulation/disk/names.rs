//! Names of files, and changes of them.

use std::{collections::BTreeMap, path::PathBuf};

pub(super) type Names = BTreeMap<PathBuf, usize>;

#[derive(Clone)]
pub(super) enum Naming {
    Made(PathBuf, usize),
    Renamed(PathBuf, PathBuf),
    Removed(PathBuf),
}

impl Naming {
    pub(super) fn apply(&self, names: &mut Names) {
        match self {
            Self::Made(path, content) => drop(names.insert(path.clone(), *content)),
            Self::Removed(path) => drop(names.remove(path)),
            Self::Renamed(from, to) => {
                if let Some(content) = names.remove(from) {
                    names.insert(to.clone(), content);
                }
            }
        }
    }
}
