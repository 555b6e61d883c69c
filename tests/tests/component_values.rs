//! Random values through random components come back as they went in: see `precast_tests::components`.

use precast_tests::components;

#[test]
fn values_survive_any_chain_of_components() {
    let mut values = 0;
    for seed in 0..150 {
        values += components::check(seed).unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
    }
    assert!(values >= 600, "{values}");
}
