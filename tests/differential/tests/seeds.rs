//! A few hundred cases, the same each time. `cargo run --release -p precast-differential` checks others.

use precast_differential::{Outcome, check};

#[test]
fn precast_and_wasmtime_agree() {
    let mut total = Outcome::default();
    let mut modules = 0;
    for seed in 1000..1300 {
        let outcome = check(seed).unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
        modules += usize::from(outcome.checked);
        total.steps += outcome.steps;
        total.traps += outcome.traps;
        total.host_calls += outcome.host_calls;
    }
    assert!(modules > 200 && total.steps > 5000 && total.traps > 500 && total.host_calls > 50, "{modules}, {total:?}");
}
