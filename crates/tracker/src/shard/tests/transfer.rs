//! Complete states that take long, while their owner goes on.

use proptest::prelude::*;

use super::*;
use crate::message::PartTaken;
use crate::owner_log::wire_size;
use crate::peer::Sending;
use crate::replica::Assembly;
use crate::testing::tally::holds;

/// The one who has the entries, and the one who gets them.
const OWNER: usize = 0;
const FRESH: usize = 1;

/// More than the log keeps, in more parts than are sent at once.
const ENTRIES: usize = 60;

impl Net {
    /// Two nodes: one with many entries, the other without any, and their link has just come up.
    fn about_to_transfer() -> Self {
        let mut net = Self::new(2);
        for key in 0..ENTRIES {
            net.track(OWNER, &format!("k{key:02}"));
        }
        assert!(!net.shards[OWNER].own.covers(0));
        net.next_link = 1;
        for (here, there) in [(OWNER, FRESH), (FRESH, OWNER)] {
            net.links.insert((here, there), LinkId(1));
            let event = MemberEvent::Up(net.member(there, LinkId(1)));
            net.shards[here].handle_member(&event, net.now);
        }
        net
    }

    /// Some time passes, in which so many messages arrive, and no more.
    fn pass_slowly(&mut self, time: Duration, messages: usize) {
        self.now += time;
        for shard in &mut self.shards {
            if shard.due(self.now) {
                shard.handle_tick(self.now);
            }
        }
        self.carry_out();
        for _ in 0..messages {
            if !self.deliver(|_| true) {
                return;
            }
        }
    }

    /// Some time passes, in which whatever the owner says arrives at once, and what it is told not at all.
    fn pass_one_way(&mut self, time: Duration) {
        self.pass_slowly(time, 0);
        while self.deliver(|to| to == FRESH) {}
    }

    /// The first message to such a node arrives, if there is one.
    fn deliver(&mut self, to_such: impl Fn(usize) -> bool) -> bool {
        let next = self.queue.iter().position(|(_, to, ..)| to_such(*to));
        let Some((from, to, link, bytes)) = next.and_then(|next| self.queue.remove(next)) else {
            return false;
        };
        self.hear(to, from, link, Message::decode(&bytes).unwrap().unwrap());
        self.carry_out();
        true
    }

    fn carry_out(&mut self) {
        for node in 0..self.shards.len() {
            self.shards[node].settle();
            while let Some(effect) = self.shards[node].poll_effect() {
                self.effect(node, effect);
            }
            self.shards[node].assert_consistent();
        }
    }

    fn write(&mut self, key: &str) {
        let meta = Bytes::from(vec![7; 100]);
        let tracked = self.shards[OWNER].track(&slot(key), meta, self.now);
        assert!(tracked.is_ok());
        self.carry_out();
    }

    /// What the owner's entries take on the wire, at most.
    fn entry_bytes(&self) -> usize {
        self.shards[OWNER]
            .own
            .iter()
            .map(|entry| wire_size(entry))
            .sum()
    }

    /// What the copy is behind the owner, in operations.
    fn behind(&self) -> u64 {
        let have = self.shards[FRESH].have(&name(OWNER)).map_or(0, |at| at.seq);
        self.shards[OWNER].at().seq - have
    }

    /// What has come of the owner's state, as long as that is not all.
    fn assembly(&self) -> Option<&Assembly> {
        let peer = self.shards[FRESH].peers.get(&name(OWNER))?;
        peer.link.as_ref()?.assembly.as_ref()
    }

    /// Entries of parts still to come that operations have deleted, and held.
    fn overtaken(&self) -> (usize, usize) {
        self.assembly().map_or((0, 0), Assembly::overtaken)
    }
}

/// In the time of each message that arrives the owner writes almost as much. When the last part is there, the copy is as far as
/// what was sent before it, and stays so close.
#[test]
fn i9_a_copy_is_complete_with_the_last_part_though_its_owner_never_stops() {
    let mut net = Net::about_to_transfer();
    let mut complete = None;
    for turn in 0..200 {
        net.write(&format!("w{turn:03}"));
        net.pass_slowly(PERIOD, 3);
        if net.shards[FRESH].stats().states_taken > 0 {
            complete = complete.or(Some(turn));
            assert!(
                net.behind() < 8,
                "{} behind after {turn} turns",
                net.behind()
            );
        } else {
            assert_eq!(net.keys(FRESH), "", "no part of a state is listed");
        }
    }
    assert!(complete.is_some_and(|turn| turn < 60), "{complete:?}");
    assert_eq!(net.shards[OWNER].stats().states_served, 1);
    assert_eq!(
        net.shards[FRESH].stats().pulls_sent,
        0,
        "nothing was asked for"
    );
    net.pass(PERIOD);
    assert_eq!(net.references(FRESH), net.references(OWNER));
}

/// It takes long until the owner hears which parts have come, and so until the next ones do. But its operations come, and follow
/// those parts: nothing was lost. It is asked once no part has come for too long, and then the state goes on where it was.
#[test]
fn i9_operations_that_follow_its_parts_show_that_a_slow_transfer_goes_on() {
    for (millis, questions) in [(9_000, 0), (11_500, 1)] {
        let mut net = Net::about_to_transfer();
        while net.assembly().is_none() {
            net.pass_slowly(PERIOD, 1);
        }
        net.pass_one_way(PERIOD);
        let end = net.now + Duration::from_millis(millis);
        for turn in 0.. {
            if net.now >= end {
                break;
            }
            if turn % 10 == 0 {
                net.write(&format!("w{turn:03}"));
            }
            net.pass_one_way(PERIOD);
        }
        assert_eq!(net.shards[FRESH].stats().pulls_sent, questions);
        assert_eq!(net.keys(FRESH), "", "no part of a state is listed");
        net.run();
        net.pass(PERIOD);
        let stats = net.shards[OWNER].stats();
        assert_eq!((stats.states_served, stats.states_resumed), (1, questions));
        assert_eq!(net.references(FRESH), net.references(OWNER));
    }
}

/// Be it that it takes long to make, be it that the link is slow: whoever waits for the first part asks again, ever less often. It is not
/// made anew for that, or the next question would always be there before it.
#[test]
fn i9_a_state_whose_first_part_takes_long_is_made_once() {
    let mut net = Net::about_to_transfer();
    net.pass_slowly(PERIOD, 2);
    let end = net.now + Duration::from_secs(30);
    while net.now < end {
        net.pass_slowly(PERIOD, 0);
        while net.deliver(|to| to == OWNER) {}
    }
    let (questions, stats) = (
        net.shards[FRESH].stats().pulls_sent,
        net.shards[OWNER].stats(),
    );
    assert!((3..7).contains(&questions), "{questions}");
    assert_eq!((stats.states_served, stats.states_resumed), (1, questions));
    let parts: Vec<(u32, usize)> = net.take_sent().iter().filter_map(entries_of_part).collect();
    let others = parts.iter().filter(|(part, _)| *part > 0).count();
    assert_eq!(others, 3, "of those under way only the first is sent again");
    assert!(
        parts[0].1 < parts[1].1,
        "and that is a small one: {parts:?}"
    );
    net.run();
    net.pass(PERIOD);
    assert_eq!(net.shards[OWNER].stats().states_served, 1);
    assert_eq!(net.references(FRESH), net.references(OWNER));
}

fn entries_of_part(message: &Message) -> Option<(u32, usize)> {
    match message {
        Message::Part(part) => Some((part.part, part.entries.len())),
        _ => None,
    }
}

/// A way to the node without entries that carries so many bytes a second.
struct Line {
    rate: usize,
    /// What it has carried of the message that comes next.
    carried: usize,
}

impl Line {
    fn pass(&mut self, net: &mut Net, time: Duration) {
        net.pass_slowly(time, 0);
        while net.deliver(|to| to == OWNER) {}
        self.carried += self.rate * time.as_millis() as usize / 1_000;
        loop {
            let next = net.queue.iter().find(|(_, to, ..)| *to == FRESH);
            let Some(bytes) = next.map(|(.., bytes)| bytes.len()) else {
                self.carried = 0;
                return;
            };
            if self.carried < bytes {
                return;
            }
            self.carried -= bytes;
            net.deliver(|to| to == FRESH);
        }
    }
}

/// A part may take longer than the first question waits for it, and the next ones too: the state is made once, gets there, and little of it
/// twice.
#[test]
fn i9_a_state_gets_across_however_slow_the_link_is() {
    let met = ["asked while it came", "not asked", "the owner went on"];
    let given = (160..4_000usize, 40..400usize);
    holds(40, &met, given, |(rate, pause), tally| {
        let mut net = Net::about_to_transfer();
        let mut line = Line { rate, carried: 0 };
        let whole = net.entry_bytes();
        let limit = Duration::from_secs(20 + 3 * (whole / rate) as u64);
        let mut turn = 0;
        while net.shards[FRESH].stats().states_taken == 0 {
            prop_assert!(net.now < limit, "{:?}", net.shards[OWNER].stats());
            line.pass(&mut net, PERIOD);
            turn += 1;
            if turn % pause == 0 {
                net.write(&format!("w{turn:03}"));
                tally.note(met[2], true);
            }
        }
        prop_assert_eq!(net.shards[OWNER].stats().states_served, 1);
        let asked = net.shards[FRESH].stats().pulls_sent > 0;
        tally.note(met[usize::from(!asked)], true);
        net.run();
        net.pass(PERIOD);
        prop_assert_eq!(net.references(FRESH), net.references(OWNER));
        Ok(())
    });
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Write(usize),
    Untrack(usize),
    Update(usize),
    /// Its connection ends, and it is held.
    Hold(usize),
    Deliver(usize),
    Lose,
    /// The link says that it lost something.
    Gap,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let key = 0..ENTRIES + 20;
    let act = prop_oneof![
        2 => (ENTRIES..ENTRIES + 20).prop_map(Act::Write),
        2 => key.clone().prop_map(Act::Untrack),
        1 => key.clone().prop_map(Act::Update),
        1 => key.prop_map(Act::Hold),
        4 => (1..4usize).prop_map(Act::Deliver),
        1 => prop_oneof![9 => Just(None), 1 => Just(Some(Act::Lose)), 1 => Just(Some(Act::Gap))]
            .prop_map(|act| act.unwrap_or(Act::Deliver(1))),
    ];
    prop::collection::vec(act, 20..150)
}

/// Whatever the owner does while its entries are on their way, in whatever order parts and operations come, and whatever is lost: no
/// part is listed before the last one, and then both list the same.
#[test]
fn i5_i12_a_state_that_moved_on_is_the_state_of_its_owner() {
    let met = [
        "deleted before its part came",
        "held before its part came",
        "complete while the owner went on",
        "lost",
    ];
    holds(300, &met, acts(), |acts, tally| {
        let mut net = Net::about_to_transfer();
        let grace = Duration::from_secs(30);
        let key = |number: usize| format!("k{number:02}");
        for (turn, act) in acts.into_iter().enumerate() {
            let now = net.now;
            let owner = &mut net.shards[OWNER];
            match act {
                Act::Write(number) => drop(owner.track(&slot(&key(number)), Bytes::new(), now)),
                Act::Untrack(number) => drop(owner.untrack(&slot(&key(number)), now)),
                Act::Update(number) => {
                    drop(owner.update(&slot(&key(number)), None, Bytes::new(), now));
                }
                // One that was tracked before the transfer, or one of its own: whose held entry gives way at the owner is not told.
                Act::Hold(number) if number < ENTRIES => {
                    owner.restart(grace);
                    owner.hold_ahead(&slot(&key(number)));
                    owner.written(now);
                }
                Act::Hold(_) => {
                    let passing = slot(&format!("h{turn}"));
                    let tracked = owner.track(&passing, Bytes::new(), now);
                    let (ticket, _) = tracked.expect("nothing is there");
                    owner.set_drop_grace(&ticket, grace);
                    owner.release(&ticket, now);
                }
                Act::Deliver(messages) => net.pass_slowly(PERIOD, messages),
                Act::Lose => {
                    tally.note(met[3], net.queue.pop_front().is_some());
                }
                Act::Gap => {
                    let link = net.link(FRESH, OWNER);
                    net.shards[FRESH].handle_gap(&name(OWNER), link, now);
                }
            }
            net.carry_out();
            let (deleted, held) = net.overtaken();
            tally.note(met[0], deleted > 0);
            tally.note(met[1], held > 0);
            let taken = net.shards[FRESH].stats().states_taken > 0;
            tally.note(met[2], taken && net.behind() > 0);
            prop_assert!(taken || net.keys(FRESH).is_empty());
        }
        net.run();
        net.pass(Duration::from_secs(8));
        prop_assert_eq!(net.behind(), 0);
        prop_assert_eq!(net.references(FRESH), net.references(OWNER));
        prop_assert_eq!(
            net.shards[FRESH].held_listed(),
            net.shards[OWNER].held_listed()
        );
        Ok(())
    });
}

/// The owner takes a higher number while a state of it is on its way: of that nothing counts any more, and another one is made.
#[test]
fn i9_a_state_whose_owner_takes_another_number_is_made_anew() {
    let mut net = Net::about_to_transfer();
    net.pass_slowly(PERIOD, 4);
    assert!(net.assembly().is_some());
    let later = net.shards[OWNER].at().life.next().unwrap();
    net.shards[OWNER].renumber(later, net.now);
    net.run();
    net.pass(Duration::from_secs(10));
    assert_eq!(net.behind(), 0);
    assert_eq!(net.shards[FRESH].listed().count(), ENTRIES);
}

/// Who asks again is told on from a part of that very state, and from the beginning only if nothing of it has come.
#[test]
fn i23_a_state_goes_on_behind_a_part_of_itself_alone() {
    let net = Net::about_to_transfer();
    let (at, kept) = (net.shards[OWNER].at(), net.shards[OWNER].own.frozen());
    let mut fresh = Sending::new(at, kept, settings().chunk_bytes);
    let other = Position {
        seq: at.seq - 1,
        ..at
    };
    while fresh.next().is_some() {}
    assert!(
        !fresh.again(Some(&PartTaken { at: other, part: 0 })),
        "of another one"
    );
    assert!(fresh.again(None), "nothing was taken");
    fresh.taken(0);
    assert!(!fresh.again(None), "it has given up what it took");
    assert!(fresh.again(Some(&PartTaken { at, part: 0 })));
    assert_eq!(fresh.next().map(|(part, _)| part), Some(1));
}

impl Net {
    /// All parts of the owner's entries as they are now.
    fn parts(&self) -> Vec<Part> {
        let own = &self.shards[OWNER].own;
        let at = self.shards[OWNER].at();
        let mut sending = Sending::new(at, own.frozen(), settings().chunk_bytes);
        let (parts, mut all) = (sending.parts(), Vec::new());
        while let Some((part, entries)) = sending.next() {
            let entries = entries.iter().map(|kept| own.stored(kept)).collect();
            all.push(Part {
                at,
                part,
                parts,
                entries,
            });
            sending.taken(part);
        }
        all
    }

    /// So many parts of the owner's state are there, and no more under way.
    fn with_some_parts(messages: usize) -> Self {
        let mut net = Self::about_to_transfer();
        while net.assembly().is_none() {
            net.pass_slowly(PERIOD, 1);
        }
        net.pass_slowly(PERIOD, messages);
        assert!(net.assembly().is_some());
        net
    }
}

/// Operations that were late follow the copy, though a state is on its way that has them: the copy moves.
#[test]
fn i9_operations_that_follow_the_copy_move_it_while_a_state_is_on_its_way() {
    let mut net = Net::with_some_parts(2);
    let life = net.shards[OWNER].at().life;
    let late = Ops {
        life,
        from: 0,
        ops: vec![put("k00")],
    };
    net.hear(FRESH, OWNER, net.link(FRESH, OWNER), Message::Ops(late));
    net.carry_out();
    let have = net.shards[FRESH].have(&name(OWNER));
    assert_eq!(have, Some(Position { life, seq: 1 }));
    net.run();
    net.pass(PERIOD);
    assert_eq!(net.references(FRESH), net.references(OWNER));
}

/// The owner has made another state, and begins with its first part: what has come of the one before is no hindrance.
#[test]
fn i23_the_first_part_of_another_state_begins_anew() {
    let mut net = Net::with_some_parts(2);
    net.write("more");
    net.queue.clear();
    for part in net.parts() {
        net.hear(FRESH, OWNER, net.link(FRESH, OWNER), Message::Part(part));
        net.carry_out();
    }
    assert_eq!(
        (net.behind(), net.shards[FRESH].stats().broken_states),
        (0, 0)
    );
    assert_eq!(net.references(FRESH), net.references(OWNER));
}

/// Something was lost, but no part of the state, or one: it is not made anew for that.
#[test]
fn i23_a_state_goes_on_behind_its_last_part_after_a_gap() {
    let mut net = Net::with_some_parts(8);
    let link = net.link(FRESH, OWNER);
    net.shards[FRESH].handle_gap(&name(OWNER), link, net.now);
    net.carry_out();
    assert!(net.assembly().is_some());
    net.run();
    net.pass(Duration::from_secs(10));
    assert_eq!(net.references(FRESH), net.references(OWNER));
    assert_eq!(net.shards[OWNER].stats().states_served, 1);
}

/// As soon as the owner has another number nothing is kept of a state that nobody will complete.
#[test]
fn i18_what_has_come_of_a_state_goes_with_its_number() {
    let mut net = Net::with_some_parts(2);
    let later = net.shards[OWNER].at().life.next().unwrap();
    net.shards[OWNER].renumber(later, net.now);
    net.carry_out();
    let number = |net: &Net| net.shards[FRESH].have(&name(OWNER)).map(|at| at.life);
    while number(&net) != Some(later) {
        assert!(net.deliver(|to| to == FRESH));
    }
    assert!(net.assembly().is_none());
}

/// A part of a state that is here by now comes late, while a later one is on its way: of that nothing is lost.
#[test]
fn i23_a_late_part_of_an_earlier_state_ends_no_later_one() {
    let mut net = Net::new(2);
    net.track(OWNER, "first");
    net.up(OWNER, FRESH);
    let link = net.link(FRESH, OWNER);
    let late = net.parts().remove(0);
    net.deaf.insert((FRESH, OWNER));
    for key in 0..ENTRIES {
        net.track(OWNER, &format!("k{key:02}"));
    }
    let mut parts = net.parts().into_iter();
    for part in parts.by_ref().take(5) {
        net.hear(FRESH, OWNER, link, Message::Part(part));
        net.carry_out();
    }
    net.hear(FRESH, OWNER, link, Message::Part(late));
    net.carry_out();
    for part in parts {
        net.hear(FRESH, OWNER, link, Message::Part(part));
        net.carry_out();
    }
    assert_eq!((net.behind(), net.assembly().is_none()), (0, true));
    let stats = net.shards[FRESH].stats();
    assert_eq!((stats.old_states, stats.broken_states), (1, 0));
}

/// Its first word over a new link is lost, and the state that it sends says how far it was as well.
#[test]
fn i17_a_state_shows_who_is_back_though_its_first_word_was_lost() {
    let mut net = Net::meshed(2);
    net.track(OWNER, "first");
    net.pass(PERIOD);
    net.down(OWNER, FRESH);
    for key in 0..ENTRIES {
        net.track(OWNER, &format!("k{key:02}"));
    }
    net.deaf.insert((FRESH, OWNER));
    net.up(OWNER, FRESH);
    assert_eq!(net.keys(FRESH), "");
    for part in net.parts() {
        net.hear(FRESH, OWNER, net.link(FRESH, OWNER), Message::Part(part));
        net.carry_out();
    }
    assert_eq!(net.references(FRESH), net.references(OWNER));
}
