//! The runs against a set of the standard library, and how full they are.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn filled(rows: impl IntoIterator<Item = u32>) -> Runs<u32> {
    let mut runs = Runs::default();
    for row in rows {
        assert_eq!(add(&mut runs, row), None);
    }
    runs
}

/// Adds a row if none equals it; else gives that one.
fn add(runs: &mut Runs<u32>, row: u32) -> Option<u32> {
    match runs.vacancy(|other| other.cmp(&row)) {
        Ok(place) => runs.fill(place, row),
        Err(there) => return Some(*there),
    }
    None
}

fn assert_sound(runs: &Runs<u32>) {
    assert!(runs.iter().is_sorted());
    assert!(
        runs.runs
            .iter()
            .all(|run| !run.is_empty() && run.len() <= RUN_ROWS)
    );
    assert_eq!(runs.iter().count(), runs.len());
}

#[test]
fn rows_that_come_in_order_leave_full_runs() {
    let runs = filled(0..10_000);
    assert_eq!(runs.runs.len(), 10_000usize.div_ceil(RUN_ROWS));
    let room: usize = runs.runs.iter().map(Vec::capacity).sum();
    assert!(room <= 10_000 + RUN_ROWS, "{room}");
}

#[test]
fn what_is_nearly_empty_gives_its_memory_back() {
    let mut runs = filled(0..10_000);
    for row in (0..10_000).filter(|row| row % 100 != 0) {
        assert_eq!(runs.remove(|other| other.cmp(&row)), Some(row));
    }
    assert_sound(&runs);
    let room: usize = runs.runs.iter().map(Vec::capacity).sum();
    assert!(runs.len() == 100 && room <= 400, "{room}");
}

#[test]
fn i21_a_run_that_loses_its_last_row_hides_no_other() {
    let end = 3 * RUN_ROWS as u32;
    for at in 0..3 {
        let mut runs = filled(0..end);
        let emptied = at * RUN_ROWS as u32..(at + 1) * RUN_ROWS as u32;
        for row in emptied.clone() {
            assert_eq!(runs.remove(|other| other.cmp(&row)), Some(row));
        }
        assert_sound(&runs);
        for row in 0..end {
            let found = runs.find(|other| other.cmp(&row));
            assert_eq!(found.is_none(), emptied.contains(&row), "{row}");
        }
    }
}

#[test]
fn a_row_is_found_and_changed_by_what_it_is_sorted_by() {
    let mut runs = Runs::default();
    for row in [(1, 'a'), (2, 'b')] {
        let place = runs.vacancy(|other: &(u32, char)| other.0.cmp(&row.0));
        runs.fill(place.unwrap(), row);
    }
    let by = |key: u32| move |row: &(u32, char)| row.0.cmp(&key);
    assert_eq!(
        (runs.len(), runs.vacancy(by(1)).err(), runs.find(by(3))),
        (2, Some(&(1, 'a')), None)
    );
    runs.find_mut(by(2)).unwrap().1 = 'd';
    assert_eq!(runs.take_last(9), [(1, 'a'), (2, 'd')]);
}

proptest! {
    #[test]
    fn runs_are_a_sorted_set(steps in prop::collection::vec((any::<bool>(), 0..700u32), 0..1_500), from in 0..700u32) {
        let (mut runs, mut model) = (Runs::default(), BTreeSet::new());
        for (adds, row) in steps {
            if adds {
                prop_assert_eq!(add(&mut runs, row).is_none(), model.insert(row));
            } else {
                prop_assert_eq!(runs.remove(|other: &u32| other.cmp(&row)).is_some(), model.remove(&row));
            }
        }
        assert_sound(&runs);
        prop_assert_eq!(runs.iter().collect::<Vec<_>>(), model.iter().collect::<Vec<_>>());
        prop_assert_eq!(runs.from(|row| *row < from).collect::<Vec<_>>(), model.range(from..).collect::<Vec<_>>());
        prop_assert_eq!(runs.find(|row| row.cmp(&from)), model.get(&from));
    }
}

#[test]
fn the_last_rows_are_taken_across_runs_and_the_rest_stays() {
    let mut runs = filled(0..300);
    let mut taken = runs.take_last(200);
    taken.sort_unstable();
    assert_eq!(taken, (100..300).collect::<Vec<_>>());
    assert_eq!(runs.len(), 100);
    assert_eq!(
        runs.iter().copied().collect::<Vec<_>>(),
        (0..100).collect::<Vec<_>>()
    );
    assert_eq!(runs.take_last(0), []);
    assert_eq!(runs.take_last(usize::MAX).len(), 100);
    assert_eq!((runs.len(), runs.iter().next()), (0, None));
}
