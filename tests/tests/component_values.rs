//! Random values through random components: see `precast_tests::components`. `precast-differential` compares them with a
//! peer.

use std::collections::BTreeSet;

use precast_tests::components;

#[test]
fn values_survive_any_chain_of_components() {
    let mut calls = 0;
    for seed in 0..150 {
        calls += components::check(seed).unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
    }
    assert!(calls >= 1000, "{calls}");
}

#[test]
fn what_is_no_value_ends_in_a_trap() {
    let (mut values, mut traps) = (0, BTreeSet::new());
    for seed in 0..400 {
        let outcomes = components::play(&components::hostile(seed));
        for outcome in outcomes.unwrap_or_else(|failure| panic!("seed {seed}: {failure}")) {
            match outcome {
                Ok(_) => values += 1,
                Err(trap) => _ = traps.insert(trap),
            }
        }
    }
    // Characters, discriminants, two encodings, pointers: not aligned, or not inside (to lists, to strings, and what
    // `realloc` gives).
    assert!(values >= 2000 && traps.len() >= 8, "{values} values, {traps:?}");
}
