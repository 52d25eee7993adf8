//! How long entries of this node outlive their connections.

use super::*;

impl Net {
    fn track_with_grace(&mut self, node: usize, key: &str, grace: Duration) {
        let ticket = self.track(node, key);
        self.shards[node].set_drop_grace(&ticket, grace);
        assert_eq!(self.shards[node].release(&ticket, self.now), Some(1));
        self.run();
    }
}

#[test]
fn no_grace_is_longer_than_the_permdown_period() {
    let mut net = Net::meshed(2);
    net.pass(PERIOD);
    net.track_with_grace(0, "ann", Duration::MAX);
    net.pass(PERMDOWN - PERIOD);
    assert_eq!((net.keys(0), net.keys(1)), ("ann".into(), "ann".into()));
    net.pass(2 * PERIOD);
    assert_eq!((net.keys(0), net.keys(1)), (String::new(), String::new()));
}

#[test]
fn only_a_grace_that_nobody_used_is_counted_as_ended() {
    let grace = Duration::from_secs(5);
    let mut net = Net::meshed(2);
    net.track_with_grace(0, "ann", grace);
    net.track_with_grace(0, "bob", grace);
    net.track(1, "ann");
    net.pass(grace + PERIOD);
    assert_eq!((net.keys(0), net.keys(1)), ("ann".into(), "ann".into()));
    let stats = net.shards[0].stats();
    assert_eq!((stats.grace_used, stats.grace_ended), (1, 1));
    assert_eq!(net.shards[0].own.frozen().len(), 0, "both are deleted");
}
