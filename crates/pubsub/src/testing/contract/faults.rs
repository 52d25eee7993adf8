//! What an adapter must keep to when nodes die and dawdle.

use super::{LAST, subscribe, texts, until_last};
use crate::cluster::{Member, MemberEvent};
use crate::fan_out::give_way;
use crate::mailbox::Bound;
use crate::{DirectError, Incarnation, Members, PubSub, Subscription};

/// Messages sent to a node that does not read, of so many bytes each: 64 MiB, more than any queue to one peer should take.
const FLOOD: (usize, usize) = (4_096, 16 * 1_024);

/// A cluster whose nodes can be made to fail. Nodes go by their number, from 0.
pub trait Rig {
    /// That node as it is now: after a restart its new life.
    fn node(&self, n: usize) -> &PubSub;

    /// The node dies at once, without a goodbye. Returns when it is dead, whether the others know or not.
    fn kill(&mut self, n: usize) -> impl Future<Output = ()>;

    /// The killed node starts again under its name. Returns when it is up for all others and they for it.
    fn restart(&mut self, n: usize) -> impl Future<Output = ()>;

    /// From now on the node reads nothing that others send it, and yet it is not taken for dead while a check runs; the
    /// simplest is a sink that blocks a thread of its own, on the topic given.
    fn stall(&mut self, n: usize, topic: &str) -> impl Future<Output = ()>;

    /// It reads again.
    fn resume(&mut self, n: usize) -> impl Future<Output = ()>;
}

/// Runs every check with faults, each on a cluster of three of its own. `rig` returns when every node has said `Up` of all
/// others. Run it under a deadline of your own.
pub async fn with_faults<R: Rig>(rig: impl AsyncFn() -> R) {
    a_dead_peer_costs_itself_only(&mut rig().await).await;
    a_restarted_peer_is_a_new_life(&mut rig().await).await;
    a_slow_peer_costs_itself_only(&mut rig().await).await;
}

/// The dead node is told `Down`, then refuses direct messages; the others get everything, before and after.
pub async fn a_dead_peer_costs_itself_only(rig: &mut impl Rig) {
    let topic = "contract:dead";
    let dead = rig.node(2).node();
    let mut there = subscribe(rig.node(1), topic);
    let mut members = rig.node(0).members();
    let publisher = rig.node(0).publisher();
    let send = |text: &str| publisher.broadcast(topic, text).expect("a broadcast");
    assert_eq!(send("1").peers, 2);
    rig.kill(2).await;
    send("2");
    let down = until(&mut members, |event| match event {
        MemberEvent::Down(member) if member.node == dead => Some(member),
        _ => None,
    });
    down.await;
    assert_eq!(send("3").peers, 1);
    let refused = publisher.direct_broadcast(&dead, topic, "4");
    assert!(matches!(
        refused,
        Err(DirectError::NotUp(_) | DirectError::NoSuchNode(_))
    ));
    send(LAST);
    assert_eq!(texts(&until_last(&mut there).await), ["1", "2", "3"]);
}

/// It comes back with a later incarnation on a new link, and nothing of its old life arrives any more.
pub async fn a_restarted_peer_is_a_new_life(rig: &mut impl Rig) {
    let topic = "contract:restarted";
    let name = rig.node(2).node();
    let old = rig.node(2).incarnation();
    let mut here = subscribe(rig.node(0), topic);
    let mut members = rig.node(0).members();
    let first = until(&mut members, |event| up_of(event, old)).await;
    assert_eq!(first.node, name);
    let publisher = rig.node(2).publisher();
    publisher.broadcast(topic, "old").expect("a broadcast");
    rig.kill(2).await;
    rig.restart(2).await;
    let new = rig.node(2).incarnation();
    assert!(new > old, "a later life has a later incarnation");
    let second = until(&mut members, |event| up_of(event, new)).await;
    assert_eq!(second.node, name);
    assert!(second.link > first.link, "links are numbered upwards");
    let publisher = rig.node(2).publisher();
    publisher.broadcast(topic, "new").expect("a broadcast");
    publisher.broadcast(topic, LAST).expect("a broadcast");
    let heard = until_last(&mut here).await;
    let lives = heard.iter().map(|message| {
        let origin = message.origin().expect("it came from elsewhere");
        (origin.incarnation, origin.link)
    });
    let lives: Vec<_> = lives.collect();
    assert!(
        lives.is_sorted(),
        "no message of the old life after one of the new"
    );
    assert_eq!(lives.last(), Some(&(new, second.link)));
    assert_eq!(texts(&heard).last(), Some(&"new"));
}

fn up_of(event: MemberEvent, incarnation: Incarnation) -> Option<Member> {
    match event {
        MemberEvent::Up(member) if member.incarnation == incarnation => Some(member),
        _ => None,
    }
}

/// A node that does not read loses what its queue cannot hold and is told how much; the publisher never waits, and the
/// others get everything. (Or its link is ended, which it is told as `Down`.)
pub async fn a_slow_peer_costs_itself_only(rig: &mut impl Rig) {
    let topic = "contract:slow";
    let everything = Bound::messages(usize::MAX).with_bytes(usize::MAX);
    let wide = |node: &PubSub| node.subscribe_bounded(topic, everything);
    let mut quick = wide(rig.node(1)).expect("a subscription");
    let mut slow = wide(rig.node(2)).expect("a subscription");
    let mut events = rig.node(2).members();
    rig.stall(2, topic).await;
    let publisher = rig.node(0).publisher();
    let slow_node = rig.node(2).node();
    let (messages, bytes) = FLOOD;
    let mut published = 0;
    for n in 0..messages {
        let payload = format!("{n:0bytes$}");
        let sent = publisher.broadcast(topic, payload).expect("a broadcast");
        let others = sent.dropped.iter().filter(|name| **name != slow_node);
        assert_eq!(others.count(), 0, "only the slow node loses anything");
        published += 1;
        give_way().await;
        read(&mut quick, n).await;
    }
    rig.resume(2).await;
    while !publisher
        .broadcast(topic, LAST)
        .expect("a broadcast")
        .dropped
        .is_empty()
    {
        published += 1;
        give_way().await;
    }
    let heard = until_last(&mut slow).await;
    let numbers: Vec<&str> = texts(&heard);
    assert!(numbers.is_sorted(), "what arrives is in order");
    let mut missing = published - heard.len();
    while missing > 0 {
        match events.next().await {
            MemberEvent::Gap { lost, .. } => {
                let lost = usize::try_from(lost).expect("a small number");
                assert!(lost <= missing, "no more is told lost than was");
                missing -= lost;
            }
            MemberEvent::Down(_) => return,
            _ => {}
        }
    }
}

async fn read(subscription: &mut Subscription, expected: usize) {
    let next = subscription
        .next()
        .await
        .expect("a subscription does not end");
    let message = next.expect("nothing was lost");
    let text = str::from_utf8(message.payload()).expect("text");
    assert_eq!(
        text.parse(),
        Ok(expected),
        "the quick node gets everything, in order"
    );
}

async fn until<T>(members: &mut Members, wanted: impl Fn(MemberEvent) -> Option<T>) -> T {
    loop {
        if let Some(found) = wanted(members.next().await) {
            return found;
        }
    }
}
