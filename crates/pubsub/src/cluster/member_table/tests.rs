//! The table against the rules that every reader of it relies on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::{Member, MemberEvent, MemberState, MemberTable};
use crate::{Incarnation, LinkId, NodeName};

fn member(node: &str, incarnation: u64, link: u64) -> Member {
    Member::up(
        NodeName::new(node).unwrap(),
        Incarnation(incarnation),
        LinkId(link),
    )
}

fn a(link: u64) -> Member {
    member("a", 1, link)
}

fn with(member: Member, state: MemberState) -> Member {
    Member { state, ..member }
}

#[test]
fn a_new_link_says_down_of_the_old_one_first() {
    let mut table = MemberTable::new();
    table.handle(MemberEvent::Up(a(1)));
    let news = table.handle(MemberEvent::Up(member("a", 2, 2)));
    let down = MemberEvent::Down(with(a(1), MemberState::Down));
    assert_eq!(news, [down, MemberEvent::Up(member("a", 2, 2))]);
    assert!(table.is_current(&a(1).node, LinkId(2)));
}

#[test]
fn stale_events_have_no_effect() {
    let mut table = MemberTable::new();
    table.handle(MemberEvent::Up(member("a", 2, 5)));
    for stale in [
        MemberEvent::Up(member("a", 2, 4)),
        MemberEvent::Up(member("a", 1, 6)),
        MemberEvent::Up(member("a", 2, 5)),
        MemberEvent::Down(member("a", 2, 4)),
        MemberEvent::Leaving(member("b", 1, 1)),
        MemberEvent::Forgotten(NodeName::new("b").unwrap()),
    ] {
        assert_eq!(table.handle(stale), []);
    }
    assert_eq!(table.now(), [member("a", 2, 5)]);
}

#[test]
fn a_suspect_recovers_on_its_link_and_the_dead_do_not() {
    let mut table = MemberTable::new();
    table.handle(MemberEvent::Up(a(1)));
    let suspect = MemberEvent::Suspect(with(a(1), MemberState::Suspect));
    assert_eq!(table.handle(MemberEvent::Suspect(a(1))), [suspect]);
    assert_eq!(table.handle(MemberEvent::Up(a(1))), [MemberEvent::Up(a(1))]);
    table.handle(MemberEvent::Down(a(1)));
    assert_eq!(table.handle(MemberEvent::Up(a(1))), []);
    assert_eq!(table.handle(MemberEvent::Up(a(2))), [MemberEvent::Up(a(2))]);
}

#[test]
fn a_goodbye_lasts_until_the_end() {
    let mut table = MemberTable::new();
    let grace = Duration::from_secs(30);
    table.handle(MemberEvent::Up(a(1)));
    let restarting = MemberEvent::Restarting(with(a(1), MemberState::Restarting), grace);
    let news = table.handle(MemberEvent::Restarting(a(1), grace));
    assert!(news.iter().eq([&restarting]));
    assert_eq!(table.handle(MemberEvent::Suspect(a(1))), []);
    assert_eq!(table.introduce(), [MemberEvent::Up(a(1)), restarting]);
    table.handle(MemberEvent::Down(a(1)));
    assert_eq!(table.introduce(), []);
    assert_eq!(table.now(), [with(a(1), MemberState::Down)]);
    let forgotten = MemberEvent::Forgotten(a(1).node);
    assert_eq!(table.handle(forgotten.clone()), [forgotten]);
    assert_eq!(table.now(), []);
}

#[test]
fn gaps_of_the_current_link_are_passed_on() {
    let mut table = MemberTable::new();
    table.handle(MemberEvent::Up(a(2)));
    let gap = |link| MemberEvent::Gap {
        node: a(1).node,
        link: LinkId(link),
        lost: 3,
    };
    assert_eq!(table.handle(gap(1)), []);
    assert_eq!(table.handle(gap(2)), [gap(2)]);
    table.handle(MemberEvent::Down(a(2)));
    assert_eq!(table.handle(gap(2)), []);
    let renumbered = MemberEvent::Renumbered(Incarnation(7));
    assert_eq!(table.handle(renumbered.clone()), [renumbered]);
}

#[test]
fn states_read_as_lower_case_words() {
    let word = rmp_serde::to_vec(&MemberState::Restarting).unwrap();
    assert_eq!(
        rmp_serde::from_slice::<String>(&word).unwrap(),
        "restarting"
    );
}

fn event() -> impl Strategy<Value = MemberEvent> {
    let member = (prop::sample::select(vec!["a", "b"]), 1_u64..4, 1_u64..8)
        .prop_map(|(node, incarnation, link)| member(node, incarnation, link));
    (0..7, member).prop_map(|(what, member)| match what {
        0 | 1 => MemberEvent::Up(member),
        2 => MemberEvent::Suspect(member),
        3 => MemberEvent::Down(member),
        4 => MemberEvent::Leaving(member),
        5 => MemberEvent::Restarting(member, Duration::from_secs(9)),
        _ => MemberEvent::Forgotten(member.node),
    })
}

/// What somebody who only hears the news may rely on.
#[derive(Default)]
struct Listener {
    links: BTreeMap<NodeName, Member>,
    ended: BTreeSet<(NodeName, LinkId)>,
}

impl Listener {
    fn hear(&mut self, event: &MemberEvent) {
        match event {
            MemberEvent::Up(member) => {
                assert!(
                    !self.ended.contains(&(member.node.clone(), member.link)),
                    "no link comes back"
                );
                if let Some(old) = self.links.insert(member.node.clone(), member.clone()) {
                    assert_eq!(old.link, member.link, "the old link's down comes before");
                }
            }
            MemberEvent::Suspect(member)
            | MemberEvent::Leaving(member)
            | MemberEvent::Restarting(member, _) => {
                assert_eq!(self.links[&member.node].link, member.link);
            }
            MemberEvent::Down(member) => {
                let up = self
                    .links
                    .remove(&member.node)
                    .expect("only what was up goes down");
                assert_eq!(up.link, member.link);
                self.ended.insert((member.node.clone(), member.link));
            }
            MemberEvent::Forgotten(node) => {
                assert!(
                    !self.links.contains_key(node),
                    "down comes before forgotten"
                );
                self.ended.retain(|(ended, _)| ended != node);
            }
            MemberEvent::Gap { .. } | MemberEvent::Renumbered(_) => {}
        }
    }

    fn assert_knows(&self, table: &MemberTable) {
        let now = table
            .now()
            .into_iter()
            .filter(|member| member.state.is_linked());
        let linked: Vec<_> = now.map(|member| (member.node, member.link)).collect();
        let known = self
            .links
            .values()
            .map(|member| (member.node.clone(), member.link));
        assert!(known.eq(linked));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_the_adapter_says_the_news_make_sense(events in prop::collection::vec(event(), 0..60), cut in 0_usize..60) {
        let (mut table, mut listener) = (MemberTable::new(), Listener::default());
        let (mut slow, mut early) = (Listener::default(), MemberTable::new());
        for (n, event) in events.into_iter().enumerate() {
            for news in table.handle(event) {
                listener.hear(&news);
                if n < cut {
                    slow.hear(&news);
                }
            }
            if n < cut {
                early = table.clone();
            }
            listener.assert_knows(&table);
        }
        let mut late = Listener::default();
        table.introduce().iter().for_each(|news| late.hear(news));
        late.assert_knows(&table);
        early.changes_to(&table).iter().for_each(|news| slow.hear(news));
        slow.assert_knows(&table);
        prop_assert_eq!(table.changes_to(&table), []);
    }
}
