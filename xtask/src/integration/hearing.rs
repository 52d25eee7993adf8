//! What one listener has heard of numbered messages: everything, in order, once?

use std::collections::BTreeMap;

/// How many holes are kept one by one; more are counted with the last.
const MAX_HOLES: usize = 1000;

/// What was heard of each speaker.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hearing {
    speakers: BTreeMap<u64, Heard>,
}

/// What was heard of one speaker, whose messages are numbered from 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// The number of the first message that came.
    pub(crate) first: u64,
    /// One above the highest number that came.
    pub(crate) next: u64,
    /// Numbers that did not come and were passed over, from the first to one above the last.
    holes: Vec<(u64, u64)>,
    /// Messages that came after a later one.
    pub(crate) late: u64,
    /// Messages that had come before.
    pub(crate) again: u64,
}

impl Hearing {
    pub(crate) fn take(&mut self, speaker: u64, number: u64) {
        match self.speakers.get_mut(&speaker) {
            Some(heard) => heard.take(number),
            None => {
                let heard = Heard {
                    first: number,
                    next: number + 1,
                    ..Heard::default()
                };
                self.speakers.insert(speaker, heard);
            }
        }
    }

    /// What came of this speaker; `None` if nothing ever did.
    pub(crate) fn of(&self, speaker: u64) -> Option<&Heard> {
        self.speakers.get(&speaker)
    }

    /// How many different messages came of all.
    pub(crate) fn total(&self) -> u64 {
        self.speakers.values().map(Heard::count).sum()
    }
}

impl Heard {
    /// How often messages are missing in a row.
    pub(crate) fn holes(&self) -> usize {
        self.holes.len()
    }

    /// How many messages are missing between the first and the last that came.
    pub(crate) fn missing(&self) -> u64 {
        self.holes.iter().map(|(from, to)| to - from).sum()
    }

    fn count(&self) -> u64 {
        self.next - self.first - self.missing()
    }

    fn take(&mut self, number: u64) {
        if number >= self.next {
            if number > self.next {
                self.pass_over(self.next, number);
            }
            self.next = number + 1;
        } else if self.is_missing(number) {
            self.late += 1;
        } else {
            self.again += 1;
        }
    }

    fn pass_over(&mut self, from: u64, to: u64) {
        let full = self.holes.len() >= MAX_HOLES;
        match self.holes.last_mut() {
            Some(last) if full => last.1 += to - from,
            _ => self.holes.push((from, to)),
        }
    }

    fn is_missing(&self, number: u64) -> bool {
        number < self.first
            || self
                .holes
                .iter()
                .any(|(from, to)| (*from..*to).contains(&number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(numbers: &[u64]) -> Heard {
        let mut hearing = Hearing::default();
        for number in numbers {
            hearing.take(7, *number);
        }
        hearing.of(7).cloned().unwrap_or_default()
    }

    #[test]
    fn everything_in_order_is_no_hole() {
        let heard = heard(&[3, 4, 5]);
        assert_eq!((heard.first, heard.next), (3, 6));
        assert_eq!((heard.holes(), heard.missing(), heard.count()), (0, 0, 3));
        assert_eq!((heard.late, heard.again), (0, 0));
    }

    #[test]
    fn what_is_passed_over_is_missing() {
        let heard = heard(&[0, 1, 5, 6, 8]);
        assert_eq!((heard.holes(), heard.missing(), heard.count()), (2, 4, 5));
    }

    #[test]
    fn late_is_not_again() {
        let heard = heard(&[1, 3, 2, 3, 3, 0]);
        assert_eq!((heard.late, heard.again), (2, 2));
    }

    #[test]
    fn holes_are_bounded_and_still_counted() {
        let numbers: Vec<u64> = (0..5000).map(|n| n * 3).collect();
        let heard = heard(&numbers);
        assert_eq!(heard.holes(), MAX_HOLES);
        assert_eq!(heard.missing(), 2 * 4999);
    }

    #[test]
    fn speakers_are_told_apart() {
        let mut hearing = Hearing::default();
        for (speaker, number) in [(1, 0), (2, 0), (1, 1), (2, 2)] {
            hearing.take(speaker, number);
        }
        assert_eq!(hearing.total(), 4);
        assert_eq!(hearing.of(1).map(Heard::missing), Some(0));
        assert_eq!(hearing.of(2).map(Heard::missing), Some(1));
        assert_eq!(hearing.of(3), None);
    }
}
