//! What waits for one channel, in two lines: what its client asks for, and what comes from elsewhere. So neither takes the
//! other's room, and one can wait while the other goes on.
//!
//! Pure: no clock, no I/O, no tasks.

use std::collections::VecDeque;

use super::{Bound, ITEM_BYTES, Item};
use crate::multiplexer::Request;

/// Capacity that an emptied line may keep, in items: more than that was a burst, and is given back.
const KEPT_CAPACITY: usize = 8;

#[derive(Default)]
pub(super) struct Lines {
    requests: Line<Request>,
    others: Line<Other>,
    /// The number of the next one: both lines together are worked off in the order in which things came.
    next: u64,
    /// Messages from elsewhere that were lost after the last one inside.
    lost: u64,
}

struct Other {
    item: Item,
    /// So many were lost just before it.
    lost: u64,
}

/// Which of the client's requests are given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    All,
    /// Those without an answer of the application's.
    NoEvents,
}

impl Lines {
    pub(super) fn len(&self) -> usize {
        self.requests.slots.len() + self.others.slots.len()
    }

    /// What the client's requests have together.
    pub(super) fn request_bytes(&self) -> usize {
        self.requests.bytes
    }

    pub(super) fn is_full_of_requests(&self, bound: Bound) -> bool {
        self.requests.is_full(bound)
    }

    pub(super) fn add_request(&mut self, request: Request) {
        let (bytes, number) = (bytes_of(&request), self.number());
        self.requests.add(request, bytes, number);
    }

    /// Puts one back that was taken out last.
    pub(super) fn put_back(&mut self, request: Request) {
        let bytes = bytes_of(&request);
        self.requests.bytes += bytes;
        self.requests.slots.push_front(Slot {
            item: request,
            bytes,
            number: 0,
        });
    }

    pub(super) fn is_full_of_others(&self, bound: Bound) -> bool {
        self.others.is_full(bound)
    }

    pub(super) fn add_other(&mut self, item: Item, bytes: usize) {
        let (number, lost) = (self.number(), std::mem::take(&mut self.lost));
        self.others.add(Other { item, lost }, bytes, number);
    }

    /// Notes that a message from elsewhere that would stand last is missing.
    pub(super) fn lose(&mut self) {
        self.lost += 1;
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// What came first of what may be taken, or how much is missing in its place.
    pub(super) fn next(&mut self, takes: Takes) -> Option<Item> {
        let other = self.others.slots.front().map(|slot| slot.number);
        let other = other.or((self.lost > 0).then_some(u64::MAX));
        if let Some(first) = self.requests.slots.front()
            && (takes == Takes::All || !matches!(first.item, Request::Event { .. }))
            && other.is_none_or(|other| first.number < other)
        {
            return self.requests.take().map(Item::Request);
        }
        other?;
        let lost = match self.others.slots.front_mut() {
            Some(first) => &mut first.item.lost,
            None => &mut self.lost,
        };
        match std::mem::take(lost) {
            0 => self.others.take().map(|other| other.item),
            lost => Some(Item::Lost(lost)),
        }
    }

    /// All that the client asked for.
    pub(super) fn into_requests(self) -> impl Iterator<Item = Request> {
        self.requests.slots.into_iter().map(|slot| slot.item)
    }
}

/// What a request counts against a bound.
pub(crate) fn bytes_of(request: &Request) -> usize {
    ITEM_BYTES + request.bytes()
}

struct Line<T> {
    slots: VecDeque<Slot<T>>,
    bytes: usize,
}

struct Slot<T> {
    item: T,
    bytes: usize,
    number: u64,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self {
            slots: VecDeque::new(),
            bytes: 0,
        }
    }
}

impl<T> Line<T> {
    /// The item that crosses the bound on bytes is still taken, so any single one fits into an empty line.
    fn is_full(&self, bound: Bound) -> bool {
        self.slots.len() >= bound.messages.max(1) || self.bytes >= bound.bytes.max(1)
    }

    fn add(&mut self, item: T, bytes: usize, number: u64) {
        // Whoever sends may say any number.
        let bytes = bytes.min(usize::MAX - self.bytes);
        self.bytes += bytes;
        let slot = Slot {
            item,
            bytes,
            number,
        };
        self.slots.push_back(slot);
    }

    fn take(&mut self) -> Option<T> {
        let slot = self.slots.pop_front()?;
        self.bytes -= slot.bytes;
        if self.slots.is_empty() && self.slots.capacity() > KEPT_CAPACITY {
            self.slots = VecDeque::new();
        }
        Some(slot.item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Payload;

    fn event(n: usize) -> Request {
        Request::Event {
            event: n.to_string().into(),
            reference: None,
            payload: Payload::object(),
        }
    }

    fn leave() -> Request {
        Request::Leave {
            join_ref: None,
            reference: None,
        }
    }

    fn other() -> Item {
        Item::Info(Box::new(|_, _| unreachable!()))
    }

    /// What is given out, each in a word.
    fn all(lines: &mut Lines, takes: Takes) -> Vec<String> {
        let next = || lines.next(takes);
        std::iter::from_fn(next)
            .map(|item| match item {
                Item::Request(Request::Event { event, .. }) => event.as_text().unwrap().to_string(),
                Item::Lost(lost) => format!("lost {lost}"),
                other => format!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn both_lines_are_worked_off_in_the_order_in_which_things_came() {
        let mut lines = Lines::default();
        lines.add_other(other(), 1);
        lines.add_request(event(1));
        lines.add_request(event(2));
        lines.add_other(other(), 1);
        lines.add_request(leave());
        let expected = ["Info(..)", "1", "2", "Info(..)", "Request(..)"];
        assert_eq!(all(&mut lines, Takes::All), expected);
        assert_eq!((lines.len(), lines.request_bytes()), (0, 0));
    }

    #[test]
    fn events_can_wait_while_the_rest_goes_on_and_keep_their_order() {
        let mut lines = Lines::default();
        lines.add_request(event(1));
        lines.add_other(other(), 1);
        lines.add_request(event(2));
        let Some(Item::Request(first)) = lines.next(Takes::All) else {
            panic!("the first");
        };
        lines.put_back(first);
        assert_eq!(all(&mut lines, Takes::NoEvents), ["Info(..)"]);
        assert_eq!(all(&mut lines, Takes::All), ["1", "2"]);
        lines.add_request(leave());
        assert_eq!(all(&mut lines, Takes::NoEvents), ["Request(..)"]);
    }

    #[test]
    fn each_line_has_the_bound_for_itself() {
        let bound = Bound {
            messages: 2,
            bytes: 10_000,
        };
        let mut lines = Lines::default();
        lines.add_request(event(1));
        assert!(!lines.is_full_of_requests(bound));
        lines.add_request(event(2));
        assert!(lines.is_full_of_requests(bound) && !lines.is_full_of_others(bound));
        lines.add_other(other(), 20_000);
        assert!(lines.is_full_of_others(bound), "by its bytes");
    }

    #[test]
    fn what_is_lost_is_told_in_its_place() {
        let mut lines = Lines::default();
        lines.add_other(other(), 1);
        lines.lose();
        lines.lose();
        lines.add_request(event(1));
        lines.add_other(other(), 1);
        lines.lose();
        let expected = ["Info(..)", "1", "lost 2", "Info(..)", "lost 1"];
        assert_eq!(all(&mut lines, Takes::All), expected);
    }

    #[test]
    fn a_burst_leaves_no_capacity_behind() {
        let mut lines = Lines::default();
        (0..1_000).for_each(|n| lines.add_request(event(n)));
        all(&mut lines, Takes::All);
        assert_eq!(lines.requests.slots.capacity(), 0);
    }
}
