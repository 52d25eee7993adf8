//! Whatever happens in the tracker, and however much of it is lost on the way, a client ends with the tracker's list.

use std::collections::VecDeque;
use std::str::FromStr;

use matryoshka_tracker::pubsub::NodeName;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

#[path = "../../tests/it/js_client.rs"]
mod js_client;
use js_client::{JsPresence, held, sorted};

fn entry(topic: &str, key: &str, number: u64, previous: Option<PresenceRef>) -> Arc<Entry> {
    Arc::new(Entry {
        topic: topic.into(),
        key: key.into(),
        meta: format!("{{\"n\":{number}}}").into(),
        reference: PresenceRef::from_str(&format!("{number:016}")).unwrap(),
        previous,
        node: NodeName::new("n1").unwrap(),
        owner: number,
    })
}

fn value(diff: &PresenceDiff) -> Value {
    diff.to_json().to().unwrap()
}

fn diff(joins: &[&Arc<Entry>], leaves: &[&Arc<Entry>]) -> Diff {
    let all = |entries: &[&Arc<Entry>]| entries.iter().map(|entry| Arc::clone(entry)).collect();
    Diff {
        topic: "t".into(),
        joins: all(joins),
        leaves: all(leaves),
    }
}

#[test]
fn n13_an_update_is_one_diff_with_old_and_new_under_the_key() {
    let mut told = Told::default();
    let old = entry("t", "anna", 1, None);
    told.diff(&diff(&[&old], &[]));
    let new = entry("t", "anna", 2, Some(old.reference));
    assert_eq!(
        value(&told.diff(&diff(&[&new], &[&old])).unwrap()),
        json!({
            "joins": {"anna": {"metas": [
                {"n": 2, "phx_ref": "0000000000000002", "phx_ref_prev": "0000000000000001"}]}},
            "leaves": {"anna": {"metas": [{"n": 1, "phx_ref": "0000000000000001"}]}},
        })
    );
}

#[test]
fn a_second_device_joins_alone() {
    let mut told = Told::default();
    let (phone, desk) = (entry("t", "anna", 1, None), entry("t", "anna", 2, None));
    told.diff(&diff(&[&phone], &[]));
    let second = told.diff(&diff(&[&desk], &[])).unwrap();
    assert_eq!(second.joins.get("anna").len(), 1);
    let gone = told.diff(&diff(&[], &[&phone])).unwrap();
    assert_eq!(gone.leaves.get("anna")[0].reference(), phone.reference);
}

#[test]
fn what_clients_know_is_not_told_again() {
    let mut told = Told::default();
    let anna = entry("t", "anna", 1, None);
    assert!(told.diff(&diff(&[], &[&anna])).is_none());
    assert!(told.diff(&diff(&[&anna], &[])).is_some());
    assert!(told.diff(&diff(&[&anna], &[])).is_none());
    assert!(told.diff(&diff(&[], &[&anna])).is_some());
    assert!(told.topics.is_empty());
}

#[test]
fn a_resync_tells_the_lists_of_the_topics_that_differ() {
    let mut told = Told::default();
    let (stays, goes) = (entry("t", "stays", 1, None), entry("t", "goes", 2, None));
    told.diff(&diff(&[&stays, &goes], &[]));
    let comes = entry("u", "comes", 3, None);
    let all = [Arc::clone(&stays), Arc::clone(&comes)];
    let tell = told.resync(all.clone(), &BTreeSet::new());
    let keys = |state: &PresenceState| -> Vec<String> {
        state.iter().map(|(key, _)| key.to_owned()).collect()
    };
    let tell: Vec<_> = tell
        .iter()
        .map(|(topic, list)| (topic.as_ref(), keys(list)))
        .collect();
    let one = |key: &str| vec![key.to_owned()];
    assert_eq!(tell, [("t", one("stays")), ("u", one("comes"))]);
    assert!(told.resync(all, &BTreeSet::new()).is_empty());
}

#[test]
fn a_resync_tells_the_lists_of_topics_that_were_listed_even_if_they_are_empty() {
    let listed = BTreeSet::from(["t".into()]);
    let tell = Told::default().resync([], &listed);
    assert_eq!(tell, [("t".into(), PresenceState::default())]);
}

/// One thing that happens, in any order.
#[derive(Clone, Debug)]
enum Happens {
    Track {
        topic: usize,
        key: usize,
    },
    Update {
        which: usize,
    },
    Untrack {
        which: usize,
    },
    /// The tracker ends a step: its lists show it, and its diffs are queued for the broadcaster.
    Step,
    /// The queue overflows: everything in it becomes one resync.
    Overflow,
    /// The broadcaster takes one item from the queue.
    Broadcast,
    /// The client joins the topic (again) and its channel reads the list, which is now on its way.
    Join,
    /// The list arrives at the client.
    StateArrives,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => (0..2usize, 0..3usize).prop_map(|(topic, key)| Happens::Track { topic, key }),
        2 => any::<usize>().prop_map(|which| Happens::Update { which }),
        2 => any::<usize>().prop_map(|which| Happens::Untrack { which }),
        4 => Just(Happens::Step),
        1 => Just(Happens::Overflow),
        4 => Just(Happens::Broadcast),
        1 => Just(Happens::Join),
        2 => Just(Happens::StateArrives),
    ]
}

const TOPICS: [&str; 2] = ["watched", "other"];

/// A tracker, a broadcaster and one client of the topic `watched`.
#[derive(Default)]
struct World {
    tracked: Vec<Arc<Entry>>,
    stepped: Vec<Arc<Entry>>,
    queue: VecDeque<Option<Diff>>, // None: resync
    told: Told,
    listed: BTreeSet<Arc<str>>,
    numbers: u64,
    client: JsPresence,
    join: u64,
    state_on_its_way: Option<Value>,
}

impl World {
    fn happen(&mut self, what: &Happens) {
        match *what {
            Happens::Track { topic, key } => {
                let added = self.entry(TOPICS[topic], ["anna", "ben", "__proto__"][key], None);
                self.tracked.push(added);
            }
            Happens::Update { which } => {
                let Some(at) = which.checked_rem(self.tracked.len()) else {
                    return;
                };
                let old = Arc::clone(&self.tracked[at]);
                self.tracked[at] = self.entry(&old.topic, &old.key, Some(old.reference));
            }
            Happens::Untrack { which } => {
                let Some(at) = which.checked_rem(self.tracked.len()) else {
                    return;
                };
                self.tracked.remove(at);
            }
            Happens::Step => self.step(),
            Happens::Overflow => {
                self.queue.clear();
                self.queue.push_back(None);
            }
            Happens::Broadcast => self.broadcast(),
            Happens::Join => {
                self.join += 1;
                self.listed.insert(TOPICS[0].into());
                self.state_on_its_way = Some(self.list());
            }
            Happens::StateArrives => self.state_arrives(),
        }
    }

    fn entry(&mut self, topic: &str, key: &str, previous: Option<PresenceRef>) -> Arc<Entry> {
        self.numbers += 1;
        entry(topic, key, self.numbers, previous)
    }

    /// Lists show the ends of steps only. (Otherwise a list could show what joined and left within one step, which no
    /// diff ever tells the end of.)
    fn list(&self) -> Value {
        let here = self
            .stepped
            .iter()
            .filter(|entry| entry.topic.as_ref() == TOPICS[0]);
        PresenceState::new(here.map(Arc::clone))
            .to_json()
            .to()
            .unwrap()
    }

    fn step(&mut self) {
        for topic in TOPICS {
            let of_topic = |entry: &&Arc<Entry>| entry.topic.as_ref() == topic;
            let missing_in = |entries: &[Arc<Entry>], others: &[Arc<Entry>]| -> Vec<Arc<Entry>> {
                let missing = entries
                    .iter()
                    .filter(of_topic)
                    .filter(|entry| !others.contains(entry));
                missing.cloned().collect()
            };
            let joins = missing_in(&self.tracked, &self.stepped);
            let leaves = missing_in(&self.stepped, &self.tracked);
            if !joins.is_empty() || !leaves.is_empty() {
                self.queue.push_back(Some(Diff {
                    topic: topic.into(),
                    joins,
                    leaves,
                }));
            }
        }
        self.stepped.clone_from(&self.tracked);
    }

    fn broadcast(&mut self) {
        match self.queue.pop_front() {
            Some(Some(diff)) => {
                let news = self.told.diff(&diff);
                if let Some(news) = news.filter(|_| self.is_for_the_client(&diff.topic)) {
                    self.client.handle_diff(self.join, &value(&news));
                }
            }
            Some(None) => self.resync(),
            None => {
                self.state_arrives(); // forgetting waits for lists on their way
                self.listed.clear();
            }
        }
    }

    fn resync(&mut self) {
        self.state_arrives(); // as does a resync
        let listed = std::mem::take(&mut self.listed);
        let lists = self.told.resync(self.stepped.iter().cloned(), &listed);
        for (topic, list) in lists {
            if self.is_for_the_client(&topic) {
                let list = list.to_json().to().unwrap();
                self.client.handle_state(self.join, &list);
            }
        }
    }

    /// Before its first join the client is not subscribed.
    fn is_for_the_client(&self, topic: &str) -> bool {
        topic == TOPICS[0] && self.join > 0
    }

    fn state_arrives(&mut self) {
        if let Some(state) = self.state_on_its_way.take() {
            self.client.handle_state(self.join, &state);
        }
    }

    /// Nothing happens any more, and everything on its way arrives.
    fn settle(&mut self) {
        self.step();
        while !self.queue.is_empty() {
            self.broadcast();
        }
        self.state_arrives();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn in_the_end_the_client_holds_the_servers_list(history in proptest::collection::vec(happens(), 0..60)) {
        let mut world = World::default();
        for what in &history {
            world.happen(what);
        }
        if world.join == 0 {
            world.happen(&Happens::Join);
        }
        world.settle();
        prop_assert_eq!(world.client.list(), sorted(held(&world.list())));
        let told = world.told.topics.values().map(BTreeSet::len).sum::<usize>();
        prop_assert_eq!(told, world.tracked.len());
    }
}
