//! The artifacts that a replay has opened. They stay open to its end, so that another replay opens the same files at
//! other addresses.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use precast_loader::{Artifact, Policy};

use super::stop::{Stop, chain};

/// Artifacts by file.
#[derive(Default)]
pub(super) struct Artifacts {
    open: HashMap<PathBuf, Artifact>,
    opened: Vec<PathBuf>,
}

impl Artifacts {
    /// The artifact in that file.
    pub(super) fn get(&mut self, path: &Path) -> Result<Artifact, Stop> {
        if let Some(artifact) = self.open.get(path) {
            return Ok(artifact.clone());
        }
        let artifact = Artifact::open(path, Policy::Verify)
            .map_err(|error| Stop::Other(format!("cannot open the artifact: {}", chain(&error))))?;
        self.open.insert(path.to_owned(), artifact.clone());
        self.opened.push(path.to_owned());
        Ok(artifact)
    }

    /// The files of all artifacts that are open.
    pub(super) fn opened(&self) -> &[PathBuf] {
        &self.opened
    }
}
