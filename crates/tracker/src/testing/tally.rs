//! Properties that have to meet the cases that they are about: one that never did would hold trivially.

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestCaseResult, TestRunner};

/// How often each case of a property came up.
#[derive(Debug)]
pub(crate) struct Tally(RefCell<BTreeMap<&'static str, usize>>);

impl Tally {
    /// Notes that a case came up so many times.
    ///
    /// # Panics
    ///
    /// If the property did not name it: then it would not be missed either.
    pub(crate) fn add(&self, case: &'static str, times: usize) {
        let mut counts = self.0.borrow_mut();
        let count = counts.get_mut(case);
        *count.unwrap_or_else(|| panic!("{case:?} is not named")) += times;
    }

    /// Notes a case if it came up.
    pub(crate) fn note(&self, case: &'static str, came_up: bool) {
        self.add(case, usize::from(came_up));
    }
}

/// Tries a property, the same inputs in every run, so that a rare one fails a search and not somebody's build.
///
/// # Panics
///
/// If the property does not hold, or if one of its cases never came up.
pub(crate) fn holds<S: Strategy>(
    inputs: u32,
    cases: &[&'static str],
    given: S,
    property: impl Fn(S::Value, &Tally) -> TestCaseResult,
) {
    let tally = Tally(RefCell::new(cases.iter().map(|case| (*case, 0)).collect()));
    let tried = TestRunner::new(repeatable(inputs)).run(&given, |given| property(given, &tally));
    if let Err(failure) = tried {
        panic!("{failure}");
    }
    let counts = tally.0.into_inner();
    assert!(counts.values().all(|count| *count > 0), "{counts:?}");
}

/// So many inputs, the same in every run.
pub(crate) fn repeatable(inputs: u32) -> ProptestConfig {
    ProptestConfig {
        rng_seed: RngSeed::Fixed(0x7ac4e5),
        failure_persistence: None,
        ..ProptestConfig::with_cases(inputs)
    }
}

#[test]
#[should_panic(expected = "rare")]
fn a_case_that_never_came_up_fails_the_property() {
    holds(8, &["usual", "rare"], 0..9u8, |number, tally| {
        tally.note("usual", number < 9);
        tally.note("rare", number > 9);
        Ok(())
    });
}
