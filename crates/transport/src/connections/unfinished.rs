//! Large messages of which only a part has come, of all connections together. Where they hold more than they may, the oldest gives way:
//! whoever sends its message and is done is not closed for others, who send theirs for as long as they are let.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
};

use tokio::time::Instant;

/// A message counts by steps of this size, so that not each of its packets takes the lock.
const STEP_BYTES: usize = 64 * 1024;

/// All such messages.
#[derive(Debug)]
pub(crate) struct Unfinished {
    most: Option<usize>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bytes: usize,
    next: u64,
    /// The oldest first.
    messages: BTreeMap<u64, Message>,
}

#[derive(Debug)]
struct Message {
    bytes: usize,
    fate: Arc<Fate>,
}

/// What a connection is told by others.
#[derive(Debug)]
struct Fate {
    gives_way: AtomicBool,
    connection: Waker,
}

impl Fate {
    fn give_way(&self) {
        // Nothing else is told by it.
        self.gives_way.store(true, Ordering::Relaxed);
        self.connection.wake_by_ref();
    }
}

impl Unfinished {
    pub(super) fn new(most: Option<usize>) -> Arc<Self> {
        let state = Mutex::default();
        Arc::new(Self { most, state })
    }

    /// A message that has just become large. `connection` wakes whoever reads it.
    pub(super) fn begin(self: &Arc<Self>, connection: &Waker) -> LargeMessage {
        let fate = Arc::new(Fate {
            gives_way: AtomicBool::new(false),
            connection: connection.clone(),
        });
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        let message = Message {
            bytes: 0,
            fate: Arc::clone(&fate),
        };
        state.messages.insert(number, message);
        drop(state);
        LargeMessage {
            unfinished: Arc::clone(self),
            number,
            bytes: 0,
            since: Instant::now(),
            fate,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held, and each step leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A message takes so many bytes more. Gives back who gives way to it, itself perhaps.
    fn grow(&mut self, number: u64, bytes: usize, most: Option<usize>) -> Vec<Message> {
        let Some(message) = self.messages.get_mut(&number) else {
            return Vec::new();
        };
        message.bytes += bytes;
        self.bytes += bytes;
        let most = most.unwrap_or(usize::MAX);
        if message.bytes > most {
            // The others would give way in vain.
            return self.take(number).into_iter().collect();
        }
        let mut over = Vec::new();
        while self.bytes > most
            && let Some((&oldest, _)) = self.messages.first_key_value()
        {
            over.extend(self.take(oldest));
        }
        over
    }

    fn take(&mut self, number: u64) -> Option<Message> {
        let message = self.messages.remove(&number)?;
        self.bytes -= message.bytes;
        Some(message)
    }
}

/// One large message of which a part has come; dropped, it takes nothing any more.
#[derive(Debug)]
pub(crate) struct LargeMessage {
    unfinished: Arc<Unfinished>,
    number: u64,
    bytes: usize,
    since: Instant,
    fate: Arc<Fate>,
}

impl LargeMessage {
    /// So much of it has come by now.
    pub(crate) fn grow_to(&mut self, bytes: usize) {
        let bytes = bytes.div_ceil(STEP_BYTES).saturating_mul(STEP_BYTES);
        if bytes <= self.bytes {
            return;
        }
        let more = bytes - self.bytes;
        self.bytes = bytes;
        let most = self.unfinished.most;
        let over = self.unfinished.state().grow(self.number, more, most);
        // Outside of the lock: to wake is others' code.
        over.iter().for_each(|message| message.fate.give_way());
    }

    /// When it became large.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// Whether it has to give way to another one.
    pub(crate) fn gives_way(&self) -> bool {
        self.fate.gives_way.load(Ordering::Relaxed)
    }
}

impl Drop for LargeMessage {
    fn drop(&mut self) {
        let message = self.unfinished.state().take(self.number);
        drop(message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(unfinished: &Arc<Unfinished>) -> LargeMessage {
        unfinished.begin(Waker::noop())
    }

    #[test]
    fn the_oldest_gives_way_and_what_is_done_makes_room() {
        let unfinished = Unfinished::new(Some(10 * STEP_BYTES));
        let mut messages = [(); 3].map(|()| begin(&unfinished));
        for message in &mut messages {
            message.grow_to(3 * STEP_BYTES);
        }
        let given_way = |messages: &[LargeMessage]| {
            let gone = messages.iter().map(LargeMessage::gives_way);
            gone.collect::<Vec<_>>()
        };
        assert_eq!(given_way(&messages), [false, false, false]);
        messages[1].grow_to(4 * STEP_BYTES + 1);
        assert_eq!(given_way(&messages), [true, false, false]);
        messages[0].grow_to(9 * STEP_BYTES);
        assert_eq!(given_way(&messages), [true, false, false]);
        let [first, second, mut third] = messages;
        drop((first, second));
        let mut last = begin(&unfinished);
        third.grow_to(5 * STEP_BYTES);
        last.grow_to(5 * STEP_BYTES);
        assert_eq!(given_way(&[third, last]), [false, false]);
        assert_eq!(unfinished.state().bytes, 0);
    }

    #[test]
    fn one_that_is_larger_than_all_may_be_gives_way_itself() {
        let unfinished = Unfinished::new(Some(2 * STEP_BYTES));
        let (mut small, mut large) = (begin(&unfinished), begin(&unfinished));
        small.grow_to(1);
        large.grow_to(2 * STEP_BYTES + 1);
        assert!(large.gives_way() && !small.gives_way());
    }

    #[test]
    fn without_a_bound_none_gives_way() {
        let unfinished = Unfinished::new(None);
        let mut message = begin(&unfinished);
        message.grow_to(usize::MAX);
        assert!(!message.gives_way());
    }
}
