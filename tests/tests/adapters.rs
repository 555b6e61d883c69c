//! Scripts of components that call each other, through `precast wast`: what crosses, and what must trap instead.

use std::process::Command;

use precast_tests::{precast_binary, workspace_root};

#[test]
fn values_cross_and_what_is_none_traps() {
    let folder = workspace_root().join("tests/adapters");
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).expect("the scripts are there") {
        let script = entry.expect("a folder's entries can be read").path();
        let output = Command::new(precast_binary()).arg("wast").arg(&script).output().expect("the command runs");
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && text.contains(" 0 failed, 0 skipped"),
            "{}: {text}{errors}",
            script.display()
        );
        count += 1;
    }
    assert!(count >= 4, "{count} scripts");
}
