//! What a node offers, and what two nodes agree on.
//!
//! Pure: no clock, no I/O, no tasks.

use matryoshka_pubsub::Payload;

use super::codec::{Codec, OLDEST_PROTOCOL};
use super::frame::Hello;
use super::lane::USER_LANES;

/// The capability of routing by interest.
pub(crate) const INTEREST: &str = "interest";

/// What this node is willing to do on any link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offer {
    /// The newest version it speaks.
    pub(crate) newest: Codec,
    /// Whether it routes by interest.
    pub(crate) interest: bool,
    /// The largest payload it takes.
    pub(crate) max_message_bytes: usize,
}

/// What holds on one link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Terms {
    /// The version that both speak.
    pub(crate) codec: Codec,
    /// Whether both route by interest.
    pub(crate) interest: bool,
    /// The largest payload the other node takes.
    pub(crate) peer_max_message_bytes: usize,
    /// The optional parts of the protocol that the other node offers.
    pub(crate) capabilities: Vec<String>,
}

impl Default for Offer {
    fn default() -> Self {
        Self {
            newest: Codec::NEWEST,
            interest: true,
            max_message_bytes: Payload::MAX_BYTES,
        }
    }
}

impl Offer {
    /// The parts of a hello that say so. The rest says who is speaking.
    pub(crate) fn hello(&self) -> Hello {
        let interest = self.routes_by_interest().then(|| INTEREST.to_owned());
        Hello {
            protocol: self.newest.version(),
            oldest: OLDEST_PROTOCOL,
            capabilities: interest.into_iter().collect(),
            lanes: USER_LANES,
            max_message_bytes: Some(self.max_message_bytes as u64),
            ..Hello::default()
        }
    }

    /// What holds on a link with the sender of that hello; `None`: there is no version that both speak.
    pub(crate) fn agree(&self, hello: &Hello) -> Option<Terms> {
        let codec = self.newest.agreed(hello)?;
        let theirs = hello.capabilities.iter().any(|offered| offered == INTEREST);
        let limit = hello.max_message_bytes.map(usize::try_from);
        Some(Terms {
            codec,
            interest: codec >= Codec::V2 && self.routes_by_interest() && theirs,
            peer_max_message_bytes: limit.and_then(Result::ok).unwrap_or(Payload::MAX_BYTES),
            capabilities: hello.capabilities.clone(),
        })
    }

    /// Whether it routes by interest with those who do too.
    pub(crate) fn routes_by_interest(&self) -> bool {
        self.interest && self.newest >= Codec::V2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(newest: Codec, interest: bool) -> Offer {
        Offer {
            newest,
            interest,
            ..Offer::default()
        }
    }

    #[test]
    fn both_ends_agree_on_the_same() {
        let offers = [
            offer(Codec::V1, true),
            offer(Codec::V2, true),
            offer(Codec::V2, false),
        ];
        for one in &offers {
            for other in &offers {
                let here = one.agree(&other.hello()).unwrap();
                let there = other.agree(&one.hello()).unwrap();
                assert_eq!((here.codec, here.interest), (there.codec, there.interest));
                assert_eq!(here.codec, one.newest.min(other.newest));
                let both = one == other && *one == offer(Codec::V2, true);
                assert_eq!(here.interest, both);
            }
        }
    }

    #[test]
    fn what_the_other_does_not_say_is_as_version_1_has_it() {
        let hello = Hello {
            protocol: 1,
            oldest: 1,
            ..Hello::default()
        };
        let terms = Offer::default().agree(&hello).unwrap();
        assert_eq!(terms.codec, Codec::V1);
        assert_eq!(terms.peer_max_message_bytes, 16 * 1024 * 1024);
        assert!(!terms.interest);
    }

    #[test]
    fn a_node_of_versions_to_come_is_met_if_it_still_speaks_one_of_ours() {
        let mut hello = Hello {
            protocol: 9,
            oldest: 2,
            ..Hello::default()
        };
        assert_eq!(Offer::default().agree(&hello).unwrap().codec, Codec::V2);
        assert_eq!(offer(Codec::V1, true).agree(&hello), None);
        hello.oldest = 3;
        assert_eq!(Offer::default().agree(&hello), None);
        (hello.oldest, hello.protocol) = (0, 0);
        assert_eq!(Offer::default().agree(&hello), None);
    }
}
