//! One client with its connection, and what the node has of it.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::TOPICS;
use super::js_client::JsPresence;
use super::script::Script;
use crate::departed::KEPT;
use crate::greeting::Greeting;
use crate::mode::Count;
use crate::teller::Wish;

/// What is no longer on its way than this comes; with what is, the connection ends.
pub(super) const LATE: Duration = Duration::from_secs(KEPT.as_secs() / 2);

/// What a client says of a topic.
#[derive(Clone, Copy, Debug)]
pub(super) enum Said {
    Join { join: u64, how: How },
    Refresh,
    Leave,
}

/// How a client joins.
#[derive(Clone, Copy, Debug)]
pub(super) struct How {
    /// Whether what is told meanwhile is held back for it.
    pub(super) is_held_back: bool,
    /// Whether it is on the list itself.
    pub(super) is_member: bool,
}

/// What it is sent. What names a join is dropped by the client in any other one.
#[derive(Clone, Debug)]
pub(super) enum Frame {
    Joined(u64),
    Failed(u64),
    State(u64, Value),
    Missed(u64, Value),
    Diff(Value),
    Count(Option<u64>, Count),
}

impl Frame {
    pub(super) fn join(&self) -> Option<u64> {
        match self {
            Self::Joined(join) | Self::Failed(join) => Some(*join),
            Self::State(join, _) | Self::Missed(join, _) => Some(*join),
            Self::Diff(_) => None,
            Self::Count(join, _) => *join,
        }
    }
}

/// A client of all topics, on one connection at a time.
#[derive(Debug, Default)]
pub(super) struct Client {
    pub(super) is_connected: bool,
    pub(super) places: [Place; TOPICS.len()],
    /// In order, with its topic and since when it is on its way.
    said: VecDeque<(Duration, usize, Said)>,
    sent: VecDeque<(Duration, usize, Frame)>,
    pub(super) script: Script,
}

/// What a client's channel object would call its state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Closed,
    Joining,
    Joined,
    Errored,
}

/// A client in one topic.
#[derive(Debug, Default)]
pub(super) struct Place {
    pub(super) presence: JsPresence,
    pub(super) count: Option<Count>,
    state: State,
    /// How often it has joined, and the join that it takes itself to be in.
    joins: u64,
    join: Option<u64>,
    is_member: bool,
    /// Whether it had joined before on this connection.
    was_here: bool,
    /// Whether changes may come before the list of its join: of an earlier one, or as they are not held back for it.
    may_wait: bool,
    waits_since: Option<Duration>,
    /// What the node has of it.
    pub(super) seat: Option<Seat>,
    /// When its connection's earlier joins ended: the first of them, and the last.
    earlier: Option<(Duration, Duration)>,
    /// Lists that its channels are about to push.
    pub(super) greetings: Vec<(u64, Arc<Greeting>, Option<u64>)>,
}

/// A join that hears broadcasts.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) join: u64,
    /// Who it is on the list, if it is on it.
    pub(super) number: Option<u64>,
    is_back: bool,
    /// Whether it has what it asked for as it joined.
    pub(super) is_greeted: bool,
    /// What waits until the list is pushed.
    pub(super) held: Option<Vec<Value>>,
}

impl Client {
    pub(super) fn connect(&mut self, now: Duration) {
        if !self.is_connected {
            self.is_connected = true;
            self.script.connect();
            self.rejoin(now);
        }
    }

    pub(super) fn join(&mut self, topic: usize, how: How, now: Duration) {
        let place = &mut self.places[topic];
        if !self.is_connected || place.state != State::Closed {
            return;
        }
        // Another object than before.
        place.presence = JsPresence::default();
        place.waits_since = None;
        self.script.join(topic);
        self.say_join(topic, how, now);
    }

    pub(super) fn rejoin(&mut self, now: Duration) {
        let is_errored = |place: &Place| place.state == State::Errored;
        if !self.is_connected || !self.places.iter().any(is_errored) {
            return;
        }
        self.script.rejoin();
        for topic in 0..TOPICS.len() {
            if is_errored(&self.places[topic]) {
                let is_member = self.places[topic].is_member;
                let how = How {
                    is_held_back: true,
                    is_member,
                };
                self.say_join(topic, how, now);
            }
        }
    }

    fn say_join(&mut self, topic: usize, how: How, now: Duration) {
        let place = &mut self.places[topic];
        place.joins += 1;
        place.join = Some(place.joins);
        place.state = State::Joining;
        place.is_member = how.is_member;
        place.may_wait = place.was_here || !how.is_held_back;
        place.was_here = true;
        let join = place.joins;
        let said = Said::Join { join, how };
        self.said.push_back((now, topic, said));
    }

    pub(super) fn refresh(&mut self, topic: usize, now: Duration) {
        if self.is_connected && self.places[topic].state == State::Joined {
            self.said.push_back((now, topic, Said::Refresh));
        }
    }

    pub(super) fn leave(&mut self, topic: usize, now: Duration) {
        let place = &mut self.places[topic];
        if !self.is_connected || place.state == State::Closed {
            return;
        }
        (place.state, place.join, place.waits_since) = (State::Closed, None, None);
        self.script.leave(topic);
        self.said.push_back((now, topic, Said::Leave));
    }

    pub(super) fn give_up(&mut self, topic: usize, now: Duration) {
        let place = &mut self.places[topic];
        if !self.is_connected || place.state != State::Joining {
            return;
        }
        (place.state, place.join) = (State::Errored, None);
        // Its list names the join, and its changes do not.
        place.may_wait = true;
        self.script.give_up(topic);
        self.said.push_back((now, topic, Said::Leave));
    }

    /// What waits for a list would be kept too, but that is one of the limits: nobody knows of it.
    pub(super) fn lose(&mut self) {
        if !std::mem::take(&mut self.is_connected) {
            return;
        }
        self.script.lose();
        self.said.clear();
        self.sent.clear();
        for place in &mut self.places {
            place.was_here = false;
            place.earlier = None;
            place.waits_since = None;
            place.presence.lose_what_waits();
            if place.state == State::Joining {
                place.join = None;
            }
            if place.state != State::Closed {
                place.state = State::Errored;
            }
        }
    }

    /// Whether something is on its way, or waits, for longer than it can.
    pub(super) fn is_late(&self, now: Duration) -> bool {
        let said = self.said.front().map(|(since, _, _)| *since);
        let sent = self.sent.front().map(|(since, _, _)| *since);
        let waits = self.places.iter().filter_map(|place| place.waits_since);
        let mut all = waits.chain(said).chain(sent);
        all.any(|since| since + LATE < now)
    }

    /// Whether it has said something that is not read.
    pub(super) fn is_heard(&self) -> bool {
        !self.said.is_empty()
    }

    pub(super) fn hears(&mut self) -> Option<(usize, Said)> {
        let (_, topic, said) = self.said.pop_front()?;
        Some((topic, said))
    }

    pub(super) fn send(&mut self, topic: usize, frame: Frame, now: Duration) {
        if self.is_connected {
            self.sent.push_back((now, topic, frame));
        }
    }

    /// Whether there was a frame that came.
    pub(super) fn deliver(&mut self, now: Duration) -> Result<bool, String> {
        let Some((_, topic, frame)) = self.sent.pop_front() else {
            return Ok(false);
        };
        self.script.frame(topic, &frame);
        let heard = self.places[topic].hear(frame, now);
        heard.map_err(|error| format!("{error} in {}", TOPICS[topic]))?;
        Ok(true)
    }
}

impl Place {
    /// Its join ended on the node.
    pub(super) fn end(&mut self, now: Duration) -> Option<Seat> {
        let seat = self.seat.take()?;
        let first = self.earlier_at(now).unwrap_or(now);
        self.earlier = Some((first, now));
        Some(seat)
    }

    /// Until when its connection's earlier joins heard broadcasts, as far as the connection remembers.
    fn earlier_at(&self, now: Duration) -> Option<Duration> {
        let remembered = self.earlier.filter(|(_, last)| now <= *last + KEPT);
        remembered.map(|(first, _)| first)
    }

    pub(super) fn sit(
        &mut self,
        join: u64,
        number: Option<u64>,
        is_held_back: bool,
        now: Duration,
    ) {
        self.seat = Some(Seat {
            join,
            number,
            is_back: self.earlier_at(now).is_some(),
            is_greeted: false,
            held: is_held_back.then(Vec::new),
        });
    }

    pub(super) fn wish(&self, is_held_back: bool, now: Duration) -> Wish {
        Wish {
            is_held_back,
            heard_until: self.earlier_at(now),
        }
    }

    /// That join of it is given what it asked for, if it has not ended: whether it is told what it missed, and what was held back.
    pub(super) fn greeted(&mut self, join: u64) -> Option<(bool, Vec<Value>)> {
        let seat = self.seat.as_mut().filter(|seat| seat.join == join)?;
        seat.is_greeted = true;
        Some((seat.is_back, seat.held.take().unwrap_or_default()))
    }

    fn hear(&mut self, frame: Frame, now: Duration) -> Result<(), String> {
        let is_outdated = frame.join().is_some_and(|join| self.join != Some(join));
        if self.state == State::Closed || is_outdated {
            return Ok(());
        }
        // No join has that number.
        let join = self.join.unwrap_or(0);
        match frame {
            Frame::Joined(_) if self.state == State::Joining => self.state = State::Joined,
            Frame::Joined(_) => {}
            Frame::Failed(_) => {
                if self.state == State::Joining {
                    self.join = None;
                }
                self.state = State::Errored;
            }
            Frame::State(_, state) => {
                self.presence.handle_state(join, &state);
                self.waits_since = None;
            }
            Frame::Missed(_, diff) | Frame::Diff(diff) => {
                self.presence.handle_diff(join, &diff);
                if self.presence.waits() {
                    if !self.may_wait {
                        return Err("a change came before the list of its join".to_owned());
                    }
                    self.waits_since.get_or_insert(now);
                }
            }
            Frame::Count(_, count) => self.count = Some(count),
        }
        Ok(())
    }
}
