fn main() {
    let mut total = precast_differential::Outcome::default();
    let start: u64 = std::env::args().nth(1).map_or(0, |arg| arg.parse().unwrap());
    for seed in start..start + 50 {
        match precast_differential::check(seed) {
            Ok(outcome) => { total.steps += outcome.steps; total.traps += outcome.traps; total.overflows += outcome.overflows; total.host_calls += outcome.host_calls; }
            Err(f) => println!("{seed}: {f}"),
        }
    }
    println!("{total:?}");
}
