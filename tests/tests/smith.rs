//! Random modules compile, for every architecture, and precast agrees with itself about what they do.

use precast_tests::smith::{self, play};
use precast_tests::{Random, say};

#[test]
fn random_modules_compile_run_and_leave_nothing_behind() {
    let (mut cases, mut returned, mut trapped, mut host_calls) = (0, 0, 0, 0);
    for seed in 0..200 {
        let checked = smith::check(seed).unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
        let Some(checked) = checked else { continue };
        cases += 1;
        for event in checked.trace.iter().flatten() {
            returned += usize::from(event.outcome.is_ok());
            trapped += usize::from(matches!(event.outcome, Err(play::Stop::Trap { .. })));
            host_calls += event.host_calls.len();
        }
    }
    say(format_args!("{cases} modules; {returned} steps went well, {trapped} trapped; {host_calls} calls of the host"));
    assert!(cases > 150 && returned > 1000 && trapped > 100 && host_calls > 50, "the cases have become dull");
}

/// A failure is only worth something if the same seed shows it again.
#[test]
fn cases_are_the_same_each_time() {
    let mut random = Random(1);
    for _ in 0..20 {
        let seed = random.next();
        let module = || smith::Case::new(seed).map(|case| case.module);
        assert_eq!(module(), module());
    }
}
