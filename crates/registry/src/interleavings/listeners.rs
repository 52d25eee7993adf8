//! P8 under every order: what a listener was given and hears leads to what is there.

use std::collections::BTreeMap;

use super::{both, interleaved};
use crate::{
    Change, DuplicateRegistry, Listener, Owner, OwnerId, ShardBy, Snapshot, UniqueRegistry,
};

/// What a listener knows: every entry that it was told of and that did not go since.
#[derive(Default)]
struct Known(BTreeMap<(u8, OwnerId, u8), usize>);

impl Known {
    fn restart(&mut self, snapshot: &Snapshot<u8, u8>) {
        self.0.clear();
        for (key, entry) in snapshot.iter() {
            self.come((*key, entry.owner(), *entry.value()));
        }
    }

    fn come(&mut self, fact: (u8, OwnerId, u8)) {
        *self.0.entry(fact).or_default() += 1;
    }

    fn go(&mut self, fact: (u8, OwnerId, u8)) {
        let count = self.0.get_mut(&fact).expect("what goes was there");
        *count -= 1;
        self.0.retain(|_, count| *count > 0);
    }

    fn hear(&mut self, listener: &mut Listener<u8, u8>) {
        while let Some(change) = listener.try_recv() {
            match change {
                Change::Registered { key, entry } => {
                    self.come((*key, entry.owner(), *entry.value()))
                }
                Change::Unregistered { key, entry, .. } => {
                    self.go((*key, entry.owner(), *entry.value()));
                }
                Change::Updated { .. } => {}
                Change::Resync(snapshot) => self.restart(&snapshot),
            }
        }
    }
}

fn follow(layout: ShardBy, bound: usize) {
    let builder = DuplicateRegistry::builder().shards(2).shard_by(layout);
    let groups: DuplicateRegistry<u8, u8> = builder.build().unwrap();
    let resident = Owner::new();
    groups.register(&resident, 1, 1).unwrap().detach();
    let (theirs, asked) = (groups.clone(), groups.clone());
    let ((mut known, mut listener), _stays) = both(
        move || {
            let (snapshot, mut listener) = asked.lookup_and_listen(1, bound).unwrap();
            let mut known = Known::default();
            known.restart(&snapshot);
            known.hear(&mut listener);
            (known, listener)
        },
        move || {
            let (goes, stays) = (Owner::new(), Owner::new());
            theirs.register(&goes, 1, 2).unwrap().detach();
            theirs.register(&stays, 1, 3).unwrap().detach();
            theirs.register(&stays, 2, 4).unwrap().detach();
            drop(goes);
            (stays, resident)
        },
    );
    known.hear(&mut listener);
    let there = groups.lookup(&1).unwrap();
    let mut truth = Known::default();
    there
        .iter()
        .for_each(|e| truth.come((1, e.owner(), *e.value())));
    assert_eq!(known.0, truth.0);
}

#[test]
fn p8_snapshot_and_changes_meet_without_gap_or_overlap() {
    interleaved(|| {
        follow(ShardBy::Key, 100);
        follow(ShardBy::Owner, 100);
    });
}

#[test]
fn p8_a_listener_that_falls_behind_is_told_all_anew() {
    interleaved(|| {
        follow(ShardBy::Key, 1);
        follow(ShardBy::Owner, 1);
    });
}

/// A name that passes from the dying to the living: the going is told before the coming.
#[test]
fn p8_a_replaced_name_goes_before_it_comes() {
    interleaved(|| {
        let names = UniqueRegistry::<u8, u8>::with_shards(1, Default::default());
        let (dying, next) = (Owner::new(), Owner::new());
        names.register(&dying, 1, 1).unwrap().detach();
        let (snapshot, mut listener) = names.lookup_and_listen(1, 10).unwrap();
        let mut known = Known::default();
        known.restart(&snapshot);
        let theirs = names.clone();
        let ((), _next) = both(
            move || drop(dying),
            move || {
                let _ = theirs.register(&next, 1, 2).map(|guard| guard.detach());
                next
            },
        );
        known.hear(&mut listener);
        let truth = names.lookup(&1).map(|e| (1, e.owner(), *e.value()));
        assert_eq!(known.0.keys().copied().next(), truth);
        assert!(known.0.len() <= 1);
    });
}
