//! The architecture as absences: what must not be where. Reads the manifests and the tree.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use precast_tests::workspace_root;

/// Packages a package depends on when it is built as a product: no tests, no benches.
fn dependencies(package: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--package", package, "--edges", "normal,build", "--prefix", "none", "--format", "{p}"])
        .current_dir(workspace_root())
        .output()
        .expect("cargo can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).expect("package names are UTF-8");
    names.lines().filter_map(|line| line.split(' ').next()).map(String::from).collect()
}

/// Files of the project, as git has them.
fn files(folder: &str) -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "--", folder])
        .current_dir(workspace_root())
        .output()
        .expect("git can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).expect("file names are UTF-8");
    let paths: Vec<PathBuf> =
        names.lines().map(|name| workspace_root().join(name)).filter(|path| path.exists()).collect();
    assert!(!paths.is_empty(), "no files in {folder}");
    paths
}

fn rust_files(folder: &str) -> Vec<(PathBuf, String)> {
    let paths = files(folder).into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    paths.map(|path| (path.clone(), std::fs::read_to_string(path).expect("sources are UTF-8"))).collect()
}

/// Asserts that no code line of a product source in `folder` contains one of `words`.
fn assert_absent(folder: &str, words: &[&str], allowed: impl Fn(&Path) -> bool) {
    for (path, source) in rust_files(folder) {
        if allowed(&path) {
            continue;
        }
        for (number, line) in source.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for word in words {
                assert!(!code.contains(word), "{}:{}: `{word}`", path.display(), number + 1);
            }
        }
    }
}

#[test]
fn the_loader_has_no_compiler() {
    let dependencies = dependencies("precast-loader");
    assert!(dependencies.contains("precast-abi"), "{dependencies:?}");
    for name in &dependencies {
        let is_compiler = name.starts_with("cranelift") || name.starts_with("wasmparser") || name == "precast-compiler";
        let is_parser = matches!(name.as_str(), "wat" | "wast" | "wasm-encoder" | "regalloc2");
        assert!(!is_compiler && !is_parser, "the loader depends on {name}");
    }
}

#[test]
fn the_compiler_does_no_io_and_has_no_unsafe() {
    assert!(!dependencies("precast-compiler").contains("precast-loader"));
    let sources = rust_files("compiler/src");
    let root = sources.iter().find(|(path, _)| path.ends_with("src/lib.rs")).expect("lib.rs");
    assert!(root.1.contains("#![forbid(unsafe_code)]"));
    assert_absent(
        "compiler/src",
        &["std::fs", "std::net", "std::process", "std::env", "std::io::Std", "println!"],
        |path| path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs"),
    );
}

#[test]
fn no_product_names_the_peer() {
    for folder in ["compiler", "loader", "runtime-support", "targets", "cli", "examples"] {
        for path in files(folder).into_iter().filter(|path| path.ends_with("Cargo.toml")) {
            let manifest = std::fs::read_to_string(&path).expect("manifests are UTF-8");
            assert!(!manifest.contains("wasmtime"), "{}", path.display());
        }
    }
    for package in ["precast-loader", "precast-wasi"] {
        let named: Vec<_> = dependencies(package).into_iter().filter(|name| name.starts_with("wasmtime")).collect();
        assert!(named.is_empty(), "{package} depends on {named:?}");
    }
}

#[test]
fn only_tests_and_the_command_join_compiler_and_loader() {
    for package in ["precast-abi", "precast-builtins", "precast-targets", "precast-wasi", "precast-loader"] {
        assert!(!dependencies(package).contains("precast-compiler"), "{package}");
    }
}

#[test]
fn system_calls_of_the_loader_are_in_one_folder() {
    assert_absent("loader/src", &["libc::", "syscall("], |path| {
        path.components().any(|part| part.as_os_str() == "sys") || path.ends_with("tests.rs")
    });
}

#[test]
fn unsafe_code_is_argued_for() {
    for folder in ["loader/src", "runtime-support/wasi/src", "cli/src"] {
        for (path, source) in rust_files(folder) {
            let lines: Vec<&str> = source.lines().collect();
            for (number, line) in lines.iter().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                if !code.contains("unsafe {") {
                    continue;
                }
                let before = &lines[number.saturating_sub(8)..=number];
                assert!(before.iter().any(|line| line.contains("SAFETY:")), "{}:{}", path.display(), number + 1);
            }
        }
    }
}

#[test]
fn no_holes_are_left() {
    for folder in ["compiler/src", "loader/src", "runtime-support", "targets", "cli/src", "examples"] {
        assert_absent(folder, &["todo!", "unimplemented!", "dbg!("], |_| false);
        for (path, source) in rust_files(folder) {
            assert!(!source.contains("FIXME") && !source.contains("XXX"), "{}", path.display());
            assert!(!source.contains("#[ignore"), "{}: an ignored test", path.display());
        }
    }
}

#[test]
fn no_file_outgrows_its_idea() {
    for (path, source) in rust_files(".") {
        let lines = source.lines().count();
        assert!(lines <= 900, "{}: {lines} lines", path.display());
    }
}

#[test]
fn each_family_has_one_version() {
    let lock = std::fs::read_to_string(workspace_root().join("Cargo.lock")).expect("Cargo.lock is UTF-8");
    for family in ["cranelift-codegen", "cranelift-frontend", "object", "gimli", "goblin", "regalloc2"] {
        let count = lock.lines().filter(|line| *line == format!("name = \"{family}\"")).count();
        assert!(count <= 1, "{count} versions of {family}");
    }
    let product: BTreeSet<String> = dependencies("precast");
    assert!(product.contains("wasmparser"));
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--package", "precast", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        // Composing is a step before compiling; its library has a family of its own, and no release with ours.
        .args(["--prune", "wac-graph"])
        .current_dir(workspace_root())
        .output()
        .expect("cargo can be run");
    let tree = String::from_utf8_lossy(&output.stdout);
    for family in ["wasmparser", "wast", "wat"] {
        let versions: BTreeSet<&str> =
            tree.lines().filter_map(|line| line.strip_prefix(family)?.strip_prefix(" v")?.split(' ').next()).collect();
        assert!(versions.len() <= 1, "{family}: {versions:?}");
    }
}

#[test]
fn documents_are_where_readers_look() {
    for name in ["README.md", "CHANGELOG.md", "LICENSE", "runtime-support/abi/FORMAT.md", ".ci/run"] {
        assert!(workspace_root().join(name).is_file(), "{name}");
    }
    for folder in ["compiler", "loader", "runtime-support/wasi"] {
        assert!(workspace_root().join(folder).join("DESIGN.md").is_file(), "{folder}/DESIGN.md");
    }
}

/// Relative links of the documents lead somewhere.
#[test]
fn links_of_documents_lead_somewhere() {
    for path in files(".").into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "md")) {
        let text = std::fs::read_to_string(&path).expect("documents are UTF-8");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            if link.is_empty() || link.contains("://") || link.contains(' ') {
                continue;
            }
            assert!(path.parent().expect("a file").join(link).exists(), "{}: {link}", path.display());
        }
    }
}
