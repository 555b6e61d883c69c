//! Executing definitions: small components with the linkage they give, guests, and conformance scripts.

mod cases;
mod corpus;
mod refusals;
mod summary;

use std::path::PathBuf;

use self::summary::summary;
use super::link;
use crate::Error;

/// Folder of data outside the repository, or `None` with a message.
fn shared(folder: &str) -> Option<PathBuf> {
    let path = PathBuf::from("/work/shared").join(folder);
    if !path.is_dir() {
        eprintln!("NOT TESTED: there is no {}", path.display());
        return None;
    }
    Some(path)
}

fn binary(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

/// What a component's definitions give, or the error.
fn try_link(text: &str, links: &[(&str, &str)]) -> Result<String, Error> {
    let links: Vec<_> = links.iter().map(|(name, text)| (name.to_string(), binary(text))).collect();
    link(&binary(text), &links).map(|linkage| summary(&linkage))
}

#[track_caller]
fn check(text: &str, expected: &str) {
    check_linked(text, &[], expected);
}

#[track_caller]
fn check_linked(text: &str, links: &[(&str, &str)], expected: &str) {
    let found = try_link(text, links).unwrap_or_else(|error| panic!("{error}"));
    let trim = |text: &str| text.trim().lines().map(|line| line.trim().to_string() + "\n").collect::<String>();
    assert_eq!(trim(&found), trim(expected), "\nfound:\n{found}");
}
