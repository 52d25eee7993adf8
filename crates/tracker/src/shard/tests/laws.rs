//! The laws of the merge, of all that a node knows: of one to four others, each with several trackers one after the other and several
//! users, told in messages that may be old, of a life that is over, of one that nobody has introduced, or beyond a gap.
//!
//! All messages are what real shards say. What must come of them is said by a model of a few lines: of each node the highest life that
//! was introduced, and in it the highest number that can be reached without a gap. A message that cannot be applied where it comes, but
//! could elsewhere in the order, is what owners are asked for: so two orders may differ until the owners have answered, and not after.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::held::HeldSet;
use crate::message::Pull;
use crate::reference::PresenceRef;
use crate::replica::Kept;
use crate::testing::tally::holds;

const VIEWER: usize = 6;

/// So long what was tracked in a life is held that announced its restart.
const GRACE: Duration = Duration::from_secs(20);

/// What happened in one life: what, by whom, and under which key.
type Wishes = Vec<(u8, u64, usize)>;

/// What all nodes but the viewer did: their lives, in order.
#[derive(Clone, Debug)]
struct Pasts(Vec<Vec<Wishes>>);

/// Where an owner was: in which of its lives, and after how many wishes.
type Moment = (usize, usize);

/// What an owner said at some moment.
#[derive(Clone, Debug)]
struct Said {
    owner: usize,
    at: Moment,
    messages: Vec<Message>,
}

/// Which message, of all that there may be.
#[derive(Clone, Debug)]
struct Pick {
    owner: Index,
    life: Index,
    /// After how many wishes it is said, and before how many of them it begins.
    to: Index,
    from: Option<Index>,
    hello: bool,
}

fn pasts() -> impl Strategy<Value = Pasts> {
    let wishes = prop::collection::vec((0..8u8, 1..4u64, 0..3usize), 1..12);
    let lives = prop::collection::vec(wishes, 1..4);
    prop::collection::vec(lives, 1..5).prop_map(Pasts)
}

fn pick() -> impl Strategy<Value = Pick> {
    let index = any::<Index>;
    let from = prop_oneof![1 => Just(None), 3 => index().prop_map(Some)];
    let all = (index(), index(), index(), from, prop::bool::weighted(0.25));
    all.prop_map(|(owner, life, to, from, hello)| Pick {
        owner,
        life,
        to,
        from,
        hello,
    })
}

fn started(life: usize) -> Life {
    Life {
        incarnation: 1,
        started: 10 + life as u64,
    }
}

fn origin(node: usize) -> Origin {
    Origin {
        node: name(node),
        incarnation: Incarnation(1),
        link: LinkId(1 + node as u64),
    }
}

fn linked_with(shard: &mut Shard, node: usize) {
    let Origin {
        node,
        incarnation,
        link,
    } = origin(node);
    let up = MemberEvent::Up(Member::up(node, incarnation, link));
    shard.handle_member(&up, Duration::ZERO);
}

/// What a shard says to the viewer, or the viewer to whom, and how many diffs it tells.
fn drain(shard: &mut Shard) -> (Vec<(NodeName, Message)>, usize) {
    shard.settle();
    let (mut sent, mut diffs) = (Vec::new(), 0);
    while let Some(effect) = shard.poll_effect() {
        match effect {
            Effect::SendTo(to, message) => sent.push((to, message)),
            Effect::Step(_) => diffs += 1,
            _ => {}
        }
    }
    shard.assert_consistent();
    (sent, diffs)
}

impl Pasts {
    /// An owner as it was at some moment, linked with the viewer, and its hello.
    fn owner(&self, owner: usize, (life, wishes): Moment) -> (Shard, Vec<Message>) {
        let mut shard = Shard::new(name(owner), started(life), settings());
        for (number, (what, user, key)) in self.0[owner][life][..wishes].iter().enumerate() {
            let slot = Slot {
                owner: *user,
                topic: "t".into(),
                key: format!("k{key}").into(),
            };
            let meta = Bytes::from(number.to_string());
            match what {
                0..=2 => {
                    if let Ok((ticket, _)) = shard.track(&slot, meta, Duration::ZERO) {
                        shard.set_drop_grace(&ticket, PERMDOWN);
                    }
                }
                3 => drop(shard.update(&slot, None, meta, Duration::ZERO)),
                4 => drop(shard.untrack(&slot, Duration::ZERO)),
                6 => shard.restart(GRACE),
                7 => shard.hold(&[*user], Duration::ZERO),
                _ => drop(shard.owner_died(*user, Duration::ZERO)),
            }
            drain(&mut shard);
        }
        linked_with(&mut shard, VIEWER);
        let (hello, _) = drain(&mut shard);
        (
            shard,
            hello.into_iter().map(|(_, message)| message).collect(),
        )
    }

    fn seq(&self, owner: usize, at: Moment) -> u64 {
        self.owner(owner, at).0.at().seq
    }

    fn hello(&self, owner: usize, at: Moment) -> Said {
        let messages = self.owner(owner, at).1;
        Said {
            owner,
            at,
            messages,
        }
    }

    /// What it answers to who has that much of this life; nothing: to who has nothing.
    fn answer(&self, owner: usize, at: Moment, have: Option<u64>) -> Said {
        let (mut shard, _) = self.owner(owner, at);
        let life = started(at.0);
        let have = have.map(|seq| Position { life, seq });
        shard.handle_message(
            &origin(VIEWER),
            Message::Pull(Pull { have, taken: None }),
            Duration::ZERO,
        );
        let messages = drain(&mut shard).0.into_iter().map(|(_, message)| message);
        Said {
            owner,
            at,
            messages: messages.collect(),
        }
    }

    fn said(&self, pick: &Pick) -> Said {
        let owner = pick.owner.index(self.0.len());
        let life = pick.life.index(self.0[owner].len());
        let wishes = pick.to.index(self.0[owner][life].len() + 1);
        let at = (life, wishes);
        if pick.hello {
            return self.hello(owner, at);
        }
        let from = pick.from.map(|from| from.index(wishes + 1));
        let have = from.map(|from| self.seq(owner, (life, from)));
        self.answer(owner, at, have)
    }

    fn all(&self, picks: &[Pick]) -> Vec<Said> {
        picks.iter().map(|pick| self.said(pick)).collect()
    }

    /// All that an owner has at some moment, introduced: a state in messages.
    fn whole(&self, owner: usize, at: Moment) -> Vec<Said> {
        vec![self.hello(owner, at), self.answer(owner, at, None)]
    }

    /// Each owner's first life is introduced.
    fn introduced(&self) -> Vec<Said> {
        let owners = 0..self.0.len();
        owners.map(|owner| self.hello(owner, (0, 0))).collect()
    }
}

/// Of each owner how far its copy is, and what is in it.
type Copies = Vec<(usize, Position, Vec<String>)>;

/// A node that was told things, and what must have come of them.
struct Viewer<'a> {
    pasts: &'a Pasts,
    shard: Shard,
    /// Of each owner the life, and how far.
    expected: BTreeMap<usize, (usize, u64)>,
    /// The furthest moment of each owner that it was told anything of.
    furthest: BTreeMap<usize, Moment>,
    /// Messages that could not be applied where they came.
    unfit: usize,
}

impl<'a> Viewer<'a> {
    fn told(pasts: &'a Pasts, said: &[Said]) -> Self {
        let mut shard = Shard::new(name(VIEWER), life(1), settings());
        (0..pasts.0.len()).for_each(|owner| linked_with(&mut shard, owner));
        drain(&mut shard);
        let mut viewer = Self {
            pasts,
            shard,
            expected: BTreeMap::new(),
            furthest: BTreeMap::new(),
            unfit: 0,
        };
        for said in said {
            viewer.hear(said);
        }
        viewer
    }

    /// Whether it changed the list.
    fn hear(&mut self, said: &Said) -> bool {
        let furthest = self.furthest.entry(said.owner).or_default();
        *furthest = said.at.max(*furthest);
        let mut diffs = 0;
        for message in &said.messages {
            self.expect(said, message);
            self.shard
                .handle_message(&origin(said.owner), message.clone(), Duration::ZERO);
            diffs += drain(&mut self.shard).1;
        }
        diffs > 0
    }

    /// The model.
    fn expect(&mut self, said: &Said, message: &Message) {
        let (of, known) = (said.at.0, self.expected.get(&said.owner).copied());
        let (from, to) = match message {
            Message::Hello(_) => {
                if known.is_none_or(|(life, _)| life < of) {
                    self.expected.insert(said.owner, (of, 0));
                }
                return;
            }
            Message::Ops(ops) => (ops.from, ops.to()),
            Message::Part(part) => (0, part.at.seq),
            _ => return,
        };
        match known {
            Some((life, seq)) if life == of && from <= seq => {
                self.expected.insert(said.owner, (of, seq.max(to)));
            }
            Some((life, _)) if life > of => {}
            _ => self.unfit += 1,
        }
    }

    /// Of each owner how far its copy is, and what is in it: each as it must be.
    fn copies(&self) -> Copies {
        let mut copies = Vec::new();
        for owner in 0..self.pasts.0.len() {
            let copy = self.shard.peers[&name(owner)].replica.as_ref();
            let at = copy.map(|copy| copy.at());
            let expected = self.expected.get(&owner);
            let expected = expected.map(|(life, seq)| Position {
                life: started(*life),
                seq: *seq,
            });
            assert_eq!(at, expected, "of owner {owner}");
            let (Some(copy), Some((life, seq))) = (copy, self.expected.get(&owner)) else {
                continue;
            };
            // What is gone of what is held is a matter of the list: the copy has it as its owner has.
            let has: Vec<String> = copy.contents().map(|kept| format!("{kept:?}")).collect();
            let wishes = 0..=self.pasts.0[owner][*life].len();
            let mut moments = wishes.map(|wishes| self.pasts.owner(owner, (*life, wishes)).0);
            let there = moments.find(|shard| shard.at().seq == *seq).unwrap();
            let kept = there.own.frozen().into_iter();
            let had: Vec<String> = kept.map(|kept| format!("{kept:?}")).collect();
            assert_eq!(has, had, "of owner {owner} at {at:?}");
            copies.push((owner, copy.at(), has));
        }
        copies
    }

    /// What is known here of an owner, as a message: what its copy has, or the operations from some number up to there.
    fn knowledge(&self, owner: usize, from: Option<&Index>) -> Said {
        let copy = self.shard.peers[&name(owner)].replica.as_ref().unwrap();
        let life = (copy.at().life.started - started(0).started) as usize;
        let mut moments = (0..=self.pasts.0[owner][life].len()).map(|wishes| (life, wishes));
        let at = moments.find(|at| self.pasts.seq(owner, *at) == copy.seq());
        let at = at.unwrap();
        if let Some(from) = from {
            let from = (life, from.index(at.1 + 1));
            return self
                .pasts
                .answer(owner, at, Some(self.pasts.seq(owner, from)));
        }
        let state = Part {
            at: copy.at(),
            part: 0,
            parts: 1,
            entries: copy.contents().map(Kept::stored).collect(),
        };
        Said {
            owner,
            at,
            messages: vec![Message::Part(state)],
        }
    }

    /// Is told all that another one knows, each owner's life introduced before.
    fn join(mut self, other: &Self, from: &[Option<Index>]) -> Self {
        for (owner, from) in from.iter().enumerate().take(self.pasts.0.len()) {
            let said = other.knowledge(owner, from.as_ref());
            self.hear(&self.pasts.hello(owner, said.at));
            self.hear(&said);
        }
        self
    }

    /// All owners are asked for what is missing, and answer as they are at the furthest moment that anything was told of. Then all is shown.
    fn answered(mut self) -> Copies {
        let mut owners: BTreeMap<usize, Shard> = BTreeMap::new();
        for (owner, at) in &self.furthest {
            let (shard, _) = self.pasts.owner(*owner, *at);
            self.expected.insert(*owner, (at.0, shard.at().seq));
            owners.insert(*owner, shard);
        }
        for second in 1..8 {
            let now = Duration::from_secs(second);
            if self.shard.due(now) {
                self.shard.handle_tick(now);
            }
            for (to, message) in drain(&mut self.shard).0 {
                let of = (0..VIEWER).find(|owner| name(*owner) == to).unwrap();
                if let Some(owner) = owners.get_mut(&of) {
                    owner.handle_message(&origin(VIEWER), message, now);
                }
            }
            for (of, owner) in &mut owners {
                // It says how far it is, as all do now and then.
                let vector = Message::Vector(vector(owner.at(), Vec::new()));
                self.shard.handle_message(&origin(*of), vector, now);
                for (_, message) in drain(owner).0 {
                    self.shard.handle_message(&origin(*of), message, now);
                }
            }
        }
        drain(&mut self.shard);
        for (owner, (life, _)) in &self.expected {
            let shown = self.shard.shown_life(&name(*owner));
            assert_eq!(shown, Some(started(*life)), "owner {owner}");
        }
        self.assert_listed();
        self.copies()
    }

    /// Listed is what is tracked; what is held, unless something gave way; and of lives before that only what a restart holds.
    fn assert_listed(&self) {
        let list: BTreeSet<PresenceRef> = self.shard.listed().map(|e| e.reference).collect();
        let copies = self.shard.peers.values();
        let copies = copies.filter_map(|peer| peer.replica.as_ref());
        let mut held: BTreeSet<PresenceRef> = BTreeSet::new();
        for copy in copies {
            for kept in copy.contents() {
                let reference = kept.entry.reference;
                assert!(kept.held || list.contains(&reference), "{kept:?}");
                held.insert(reference);
            }
        }
        let sets = self.shard.held.values().flat_map(HeldSet::iter);
        held.extend(sets.map(|entry| entry.reference));
        assert!(list.is_subset(&held), "{list:?} of {held:?}");
    }
}

/// For any two messages, and whatever was told before.
#[test]
fn i2_merge_is_commutative() {
    let met = [
        "of two owners, both new",
        "of one owner, both new",
        "of two lives of one owner",
        "each order has a gap, or a life not introduced",
        "one order alone has it",
    ];
    let given = (pasts(), prop::collection::vec(pick(), 0..8), pick(), pick());
    holds(384, &met, given, |(pasts, before, x, y), tally| {
        let mut before_x = pasts.introduced();
        before_x.extend(pasts.all(&before));
        let (x, y) = (pasts.said(&x), pasts.said(&y));
        let told = |order: [&Said; 2]| {
            let mut viewer = Viewer::told(&pasts, &before_x);
            let unfit = viewer.unfit;
            let start = viewer.expected.clone();
            let mut news = 0;
            for said in order {
                let known = viewer.expected.clone();
                viewer.hear(said);
                news += usize::from(viewer.expected != known);
            }
            viewer.unfit -= unfit;
            (viewer, news, start)
        };
        let ((xy, news, _), (yx, _, _)) = (told([&x, &y]), told([&y, &x]));
        let (first, second) = (xy.copies(), yx.copies());
        if xy.unfit == 0 && yx.unfit == 0 {
            prop_assert_eq!(&first, &second);
            tally.note(met[0], news == 2 && x.owner != y.owner);
            tally.note(met[1], news == 2 && x.owner == y.owner);
        }
        tally.note(met[2], x.owner == y.owner && x.at.0 != y.at.0);
        tally.note(met[3], xy.unfit > 0 && yx.unfit > 0);
        tally.note(met[4], (xy.unfit > 0) != (yx.unfit > 0) && first != second);
        prop_assert_eq!(xy.answered(), yx.answered());
        Ok(())
    });
}

#[test]
fn i3_merge_is_idempotent() {
    let met = [
        "it changed the list",
        "it is of a later life",
        "it is of a life that is over",
        "it has a gap before it",
    ];
    let given = (pasts(), prop::collection::vec(pick(), 0..8), pick());
    holds(256, &met, given, |(pasts, before, x), tally| {
        let mut said = pasts.introduced();
        said.extend(pasts.all(&before));
        let x = pasts.said(&x);
        let mut viewer = Viewer::told(&pasts, &said);
        let (known, unfit) = (viewer.expected[&x.owner], viewer.unfit);
        tally.note(met[0], viewer.hear(&x));
        tally.note(met[1], viewer.expected[&x.owner].0 > known.0);
        tally.note(met[2], x.at.0 < known.0);
        tally.note(met[3], viewer.unfit > unfit);
        let once = viewer.copies();
        prop_assert!(!viewer.hear(&x), "the second time it changed the list");
        prop_assert_eq!(&viewer.copies(), &once);
        Ok(())
    });
}

/// What three nodes know, put together in either order. What a node knows travels as each owner's own word, since nobody passes on
/// what others said: as the state that it has, or as operations up to there, beyond a gap perhaps.
#[test]
fn i3_merge_of_what_nodes_know_is_associative() {
    let met = [
        "three that differ",
        "of one owner in two lives",
        "each is ahead of the others somewhere",
        "something held",
        "operations that fit",
        "the orders differ by a gap, until the owners have answered",
    ];
    let known = || prop::collection::vec(pick(), 1..10);
    let from = prop_oneof![Just(None), any::<Index>().prop_map(Some)];
    let from = prop::collection::vec(from, 4);
    let given = (pasts(), (known(), known(), known()), from);
    holds(192, &met, given, |(pasts, (a, b, c), from), tally| {
        let told = |picks: &[Pick]| {
            let mut said = pasts.introduced();
            said.extend(pasts.all(picks));
            Viewer::told(&pasts, &said)
        };
        let all = [&a, &b, &c].map(|picks| told(picks));
        let [a_knows, b_knows, c_knows] = all.each_ref().map(|viewer| &viewer.expected);
        tally.note(
            met[0],
            a_knows != b_knows && b_knows != c_knows && a_knows != c_knows,
        );
        let lives = |owner: &usize| a_knows[owner].0 != b_knows[owner].0;
        tally.note(met[1], a_knows.keys().any(lives));
        let most = |knows: &BTreeMap<usize, (usize, u64)>| {
            let highest = |owner: &usize| {
                let all = [a_knows, b_knows, c_knows].map(|knows| knows[owner]);
                let most = all.iter().max().copied();
                most == Some(knows[owner])
                    && all.iter().filter(|at| Some(**at) == most).count() == 1
            };
            knows.keys().any(highest)
        };
        tally.note(met[2], most(a_knows) && most(b_knows) && most(c_knows));
        let unfit: usize = all.iter().map(|viewer| viewer.unfit).sum();
        let bc = told(&b).join(&all[2], &from);
        let mut left = told(&a).join(&all[1], &from).join(&all[2], &from);
        let mut right = told(&a).join(&bc, &from);
        let gaps = [&bc, &left, &right].map(|viewer| viewer.unfit);
        // What each was told before it was joined has been counted: of one of these once, of the left one and the right one again.
        let fits = gaps.iter().sum::<usize>() == all[1].unfit + 2 * all[0].unfit;
        let (by_left, by_right) = (left.copies(), right.copies());
        if fits {
            prop_assert_eq!(&by_left, &by_right);
            let highest = |owner: &usize| a_knows[owner].max(b_knows[owner]).max(c_knows[owner]);
            let mut expected = left.expected.iter();
            prop_assert!(expected.all(|(owner, at)| *at == highest(owner)));
        }
        let owners = 0..pasts.0.len();
        let held = owners.clone().map(|owner| all[2].knowledge(owner, None));
        let held = held.flat_map(|said| said.messages).filter(
            |message| matches!(message, Message::Part(part) if part.entries.iter().any(|e| e.held)),
        );
        tally.add(met[3], held.count());
        let ops = owners.map(|owner| all[2].knowledge(owner, from[owner].as_ref()));
        let ops = ops.flat_map(|said| said.messages);
        let ops = ops.filter(|message| matches!(message, Message::Ops(_)));
        tally.note(met[4], fits && unfit == 0 && ops.count() > 0);
        tally.note(met[5], by_left != by_right);
        // What anybody was told of has happened, whether or not it fitted there.
        for viewer in &all {
            for (owner, at) in &viewer.furthest {
                for joined in [&mut left, &mut right] {
                    let furthest = joined.furthest.entry(*owner).or_default();
                    *furthest = (*at).max(*furthest);
                }
            }
        }
        prop_assert_eq!(left.answered(), right.answered());
        Ok(())
    });
}

/// Of every owner and life the operations in any pieces, the owners' in turn, come to what the last states come to; after a piece that
/// was lost the rest changes nothing, and once the owner has answered there is no difference.
#[test]
fn i5_operations_and_states_agree() {
    let met = [
        "several pieces of several owners",
        "a later life",
        "a piece was lost, and others came after it",
    ];
    let cuts = prop::collection::vec(any::<Index>(), 0..4);
    let given = (pasts(), cuts, any::<Index>(), any::<bool>());
    holds(256, &met, given, |(pasts, cuts, which, loses), tally| {
        let (mut pieces, mut states) = (Vec::new(), Vec::new());
        for (owner, lives) in pasts.0.iter().enumerate() {
            for (life, wishes) in lives.iter().enumerate() {
                let mut cuts: Vec<usize> =
                    cuts.iter().map(|cut| cut.index(wishes.len() + 1)).collect();
                cuts.extend([0, wishes.len()]);
                cuts.sort_unstable();
                pieces.push((life, 0, pasts.hello(owner, (life, 0))));
                for (turn, cut) in cuts.windows(2).enumerate() {
                    let have = pasts.seq(owner, (life, cut[0]));
                    let piece = pasts.answer(owner, (life, cut[1]), Some(have));
                    pieces.push((life, 1 + turn, piece));
                }
                states.extend(pasts.whole(owner, (life, wishes.len())));
                tally.note(met[1], life > 0);
            }
        }
        pieces.sort_by_key(|(life, turn, _)| (*life, *turn));
        let mut pieces: Vec<Said> = pieces.into_iter().map(|(_, _, said)| said).collect();
        tally.note(met[0], cuts.len() > 1 && pasts.0.len() > 1);
        if loses {
            pieces.remove(which.index(pieces.len()));
        }
        let (mut pieces, states) = (Viewer::told(&pasts, &pieces), Viewer::told(&pasts, &states));
        // What the lost piece told has happened all the same: each owner is at its end.
        pieces.furthest.clone_from(&states.furthest);
        let (by_pieces, by_states) = (pieces.copies(), states.copies());
        tally.note(met[2], loses && pieces.unfit > 0);
        prop_assert!(loses || by_pieces == by_states);
        prop_assert_eq!(pieces.answered(), states.answered());
        Ok(())
    });
}
