//! A few hundred components, the same each time. `cargo run --release -p precast-differential -- --components` checks
//! others.

use precast_differential::components::check;

#[test]
fn precast_and_wasmtime_agree() {
    let (mut calls, mut traps) = (0, 0);
    for seed in 0..200 {
        let outcome = check(seed).unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
        calls += outcome.steps;
        traps += outcome.traps;
    }
    assert!(calls > 5000 && traps > 500, "{calls} calls, {traps} traps");
}
