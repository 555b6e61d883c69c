//! Which scripts to run: in go files and folders, out comes every script in a stable order.

use std::path::{Path, PathBuf};

use crate::error::Error;

/// The files among `paths` as they are, and all `.wast` files in and below the folders, sorted.
pub(super) fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let mut scripts = Vec::new();
    for path in paths {
        let metadata = path.metadata().map_err(|error| Error::read(path, error))?;
        if metadata.is_dir() {
            walk(path, &mut scripts).map_err(|error| Error::read(path, error))?;
        } else {
            scripts.push(path.clone());
        }
    }
    Ok(scripts)
}

fn walk(folder: &Path, scripts: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let mut entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        // The entry's own type does not follow symbolic links, which could lead in circles.
        if entry.file_type()?.is_dir() {
            walk(&path, scripts)?;
        } else if path.extension().is_some_and(|extension| extension == "wast") {
            scripts.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_give_their_scripts_in_order() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("b/c")).unwrap();
        for name in ["z.wast", "b/c/x.wast", "b/a.wast", "b/notes.txt"] {
            std::fs::write(root.path().join(name), "").unwrap();
        }
        let explicit = root.path().join("b/notes.txt");
        let found = find(&[explicit.clone(), root.path().into()]).unwrap();
        let rest = ["b/a.wast", "b/c/x.wast", "z.wast"].map(|name| root.path().join(name));
        assert_eq!(found, [&[explicit], &rest[..]].concat());
        assert!(find(&[root.path().join("missing")]).is_err());
    }
}
