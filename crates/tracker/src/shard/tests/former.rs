//! Former lives that nobody had: a list of them, as long as a message may be, is not kept and not passed on.

use super::*;
use crate::message::{Hello, Offer};
use crate::owner_log::FORMER_LIVES;

const GRACE: Duration = Duration::from_secs(10);
const LIAR: usize = 0;
const HEARER: usize = 1;
const THIRD: usize = 2;

fn endless() -> Vec<Life> {
    (0..10_000)
        .map(|started| Life {
            incarnation: 0,
            started,
        })
        .collect()
}

impl Net {
    /// The message comes as bytes, as all do.
    fn hear_bytes(&mut self, message: &Message) {
        let read = Message::decode(&message.encode()).unwrap().unwrap();
        self.hear(HEARER, LIAR, self.link(HEARER, LIAR), read);
        self.run();
    }

    fn liars_vector(&self) -> Vector {
        vector(self.shards[LIAR].at(), Vec::new())
    }

    /// The longest list of former lives in what others were sent since the last call.
    fn longest_told(&mut self) -> usize {
        let sent = std::mem::take(&mut self.sent);
        let from_hearer = sent.iter().filter(|(from, ..)| *from == HEARER);
        let offers = from_hearer.flat_map(|(_, _, message)| match message {
            Message::Hello(hello) => hello.held.clone(),
            Message::Vector(vector) => vector.held.clone(),
            _ => Vec::new(),
        });
        offers
            .map(|offer| offer.formerly.len())
            .max()
            .expect("something is offered")
    }
}

/// It names them itself, in both ways, and then ends in a restart.
#[test]
fn i18_former_lives_of_ones_own_are_kept_up_to_a_bound() {
    for by_hello in [true, false] {
        let mut net = Net::meshed(3);
        net.track(LIAR, "ann");
        net.pass(PERIOD);
        let told = net.liars_vector();
        let message = if by_hello {
            Message::Hello(Hello {
                at: told.at,
                have: None,
                least: None,
                formerly: endless(),
                goodbye: None,
                held: Vec::new(),
                hears: Vec::new(),
            })
        } else {
            Message::Vector(Vector {
                formerly: endless(),
                ..told
            })
        };
        net.hear_bytes(&message);
        let copy = net.shards[HEARER].peers[&name(LIAR)]
            .replica
            .as_ref()
            .unwrap();
        assert_eq!(copy.formerly().len(), FORMER_LIVES);
        net.shards[LIAR].restart(GRACE);
        net.run();
        net.down(LIAR, HEARER);
        net.sent.clear();
        net.pass(Duration::from_secs(3));
        assert_eq!(net.longest_told(), FORMER_LIVES);
    }
}

/// It names them of a third node of which it says that it holds something.
#[test]
fn i18_former_lives_that_are_offered_are_passed_on_up_to_a_bound() {
    let mut net = Net::meshed(3);
    net.track(THIRD, "ann");
    net.pass(PERIOD);
    net.shards[THIRD].restart(GRACE);
    net.run();
    net.down(THIRD, HEARER);
    let offer = Offer {
        node: "c".to_owned(),
        at: Position {
            life: life(1),
            seq: 1,
        },
        left: 5_000,
        formerly: endless(),
    };
    let told = Vector {
        held: vec![offer],
        ..net.liars_vector()
    };
    net.sent.clear();
    net.hear_bytes(&Message::Vector(told));
    net.pass(Duration::from_secs(3));
    assert_eq!(net.longest_told(), FORMER_LIVES);
}
