//! From files to a resolved world.
//!
//! What comes in: the options. What goes out: a [`Source`]: all packages resolved, the world chosen and its types given
//! one identity for each that Rust shall tell apart, and which files were read. A folder holds one package or several:
//! each file says at its head which it belongs to. Those that say nothing belong to the folder's only one.

use std::path::{Path, PathBuf};

use wit_parser::{PackageName, Resolve, SourceMap, UnresolvedPackageGroup, WorldId};

use crate::options::Options;

/// A world and all that it refers to.
pub(crate) struct Source {
    pub(crate) resolve: Resolve,
    pub(crate) world: WorldId,
    /// What the macro's output depends on.
    pub(crate) files: Vec<PathBuf>,
}

/// A file read, and the package that its head names.
struct File {
    path: PathBuf,
    text: String,
    package: Option<String>,
}

impl Source {
    /// Reads, parses, resolves.
    ///
    /// # Errors
    /// A file cannot be read or is no valid WIT (with file and line), or the world is not there.
    pub(crate) fn load(options: &Options, root: &Path) -> Result<Source, syn::Error> {
        let mut resolve = Resolve::default();
        resolve.features.extend(options.features.iter().map(syn::LitStr::value));
        let mut groups = Vec::new();
        let mut mains = Vec::new();
        let mut files = Vec::new();
        if let Some(inline) = &options.inline {
            let file = File { path: "inline".into(), text: inline.value(), package: None };
            let group = parse(&[&file]).map_err(|error| syn::Error::new(inline.span(), error))?;
            mains.push(group.main.name.clone());
            groups.push(group);
        }
        let default = [syn::LitStr::new("wit", options.span())];
        let paths = if options.paths.is_empty() && options.inline.is_none() { &default } else { &*options.paths };
        for path in paths {
            let read = load_path(&root.join(path.value())).map_err(|error| syn::Error::new(path.span(), error))?;
            // What is inline is the package at hand, and files are what it uses.
            if options.inline.is_none() {
                mains.extend(read.groups[..read.mains].iter().map(|group| group.main.name.clone()));
            }
            groups.extend(read.groups);
            files.extend(read.files);
        }
        let at = |error| syn::Error::new(options.span(), error);
        let main = groups.remove(0);
        resolve.push_groups(main, groups).map_err(|error| at(error.render(&resolve.source_map)))?;
        let world = select(&resolve, &mains, options.world.as_ref()).map_err(at)?;
        resolve.generate_nominal_type_ids(world);
        Ok(Source { resolve, world, files })
    }
}

fn select(resolve: &Resolve, mains: &[PackageName], world: Option<&syn::LitStr>) -> Result<WorldId, String> {
    let mains: Vec<_> = mains.iter().filter_map(|name| resolve.package_names.get(name).copied()).collect();
    let world = world.map(syn::LitStr::value);
    resolve.select_world(&mains, world.as_deref()).map_err(|error| format!("{error:#}"))
}

/// What is at a path. The first `mains` groups are of the path itself, the others of its `deps`.
struct Read {
    groups: Vec<UnresolvedPackageGroup>,
    mains: usize,
    files: Vec<PathBuf>,
}

fn load_path(path: &Path) -> Result<Read, String> {
    let mut read = Read { groups: Vec::new(), mains: 0, files: Vec::new() };
    if !path.is_dir() {
        read.add(vec![file(path)?])?;
        read.mains = read.groups.len();
        return Ok(read);
    }
    read.add(folder(path)?)?;
    read.mains = read.groups.len();
    if read.mains == 0 {
        return Err(format!("{}: the folder has no files of WIT (*.wit)", path.display()));
    }
    let deps = path.join("deps");
    if deps.is_dir() {
        for entry in entries(&deps)? {
            if entry.is_dir() {
                read.add(folder(&entry)?)?;
            } else if is_wit(&entry) {
                read.add(vec![file(&entry)?])?;
            }
        }
    }
    Ok(read)
}

impl Read {
    /// Parses the files of a folder, those of a package together.
    fn add(&mut self, mut files: Vec<File>) -> Result<(), String> {
        let mut packages: Vec<String> = Vec::new();
        for file in &files {
            packages.extend(file.package.clone().filter(|package| !packages.contains(package)));
        }
        if packages.len() > 1
            && let Some(stray) = files.iter().find(|file| file.package.is_none())
        {
            return Err(format!(
                "{}: the file has no package declaration, and its folder has several packages: {}",
                stray.path.display(),
                packages.join(", ")
            ));
        }
        self.files.extend(files.iter().map(|file| file.path.clone()));
        while let Some(first) = files.first() {
            let package = first.package.clone().or_else(|| packages.first().cloned());
            let (same, others) = files.into_iter().partition(|file| file.package.is_none() || file.package == package);
            let same: Vec<File> = same;
            self.groups.push(parse(&same.iter().collect::<Vec<_>>())?);
            files = others;
        }
        Ok(())
    }
}

fn parse(files: &[&File]) -> Result<UnresolvedPackageGroup, String> {
    let mut map = SourceMap::new();
    for file in files {
        map.push(&file.path, &*file.text);
    }
    map.parse().map_err(|(map, error)| error.render(&map))
}

fn folder(path: &Path) -> Result<Vec<File>, String> {
    entries(path)?.iter().filter(|entry| is_wit(entry)).map(|entry| file(entry)).collect()
}

fn file(path: &Path) -> Result<File, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(File { package: package(&text).map(str::to_owned), path: path.to_owned(), text })
}

fn is_wit(path: &Path) -> bool {
    path.is_file() && path.extension().is_some_and(|extension| extension == "wit")
}

/// What is in a folder, sorted: the output shall not depend on the file system.
fn entries(path: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error| format!("{}: {error}", path.display());
    let entries = std::fs::read_dir(path).map_err(failed)?;
    let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_, _>>().map_err(failed)?;
    paths.sort();
    Ok(paths)
}

/// The name in the `package` declaration at a file's head, if it has one.
fn package(text: &str) -> Option<&str> {
    let mut rest = text.trim_start_matches('\u{feff}').trim_start();
    loop {
        if rest.starts_with("//") {
            rest = rest.split_once('\n')?.1;
        } else if rest.starts_with("/*") {
            rest = after_comment(rest)?;
        } else {
            break;
        }
        rest = rest.trim_start();
    }
    let rest = rest.strip_prefix("package")?;
    let (name, _) = rest.split_once([';', '{'])?;
    // One with a body is nested in the file, and says nothing of the file.
    if !rest.starts_with(char::is_whitespace) || rest.as_bytes().get(name.len()) == Some(&b'{') {
        return None;
    }
    Some(name.trim())
}

/// What follows a comment, in which there may be others.
fn after_comment(text: &str) -> Option<&str> {
    let mut depth = 0;
    let mut at = 0;
    loop {
        let rest = text.get(at..)?;
        let open = rest.find("/*").unwrap_or(usize::MAX);
        let close = rest.find("*/")?;
        at += open.min(close) + 2;
        depth += if open < close { 1 } else { -1 };
        if depth == 0 {
            return text.get(at..);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::package;

    #[test]
    fn packages() {
        assert_eq!(package("package a:b;"), Some("a:b"));
        assert_eq!(package("// x\n/* package /* */ no; */ /// y\npackage a:b@1.2.3 ;\nworld w {}"), Some("a:b@1.2.3"));
        assert_eq!(package("interface package {}"), None);
        assert_eq!(package("package a:b { world w {} }"), None);
        assert_eq!(package("packages;"), None);
        assert_eq!(package("/* open"), None);
        assert_eq!(package(""), None);
    }
}
