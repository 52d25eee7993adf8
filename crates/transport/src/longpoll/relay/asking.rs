//! Requests that other nodes are to answer.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytestring::ByteString;
use matryoshka_pubsub::NodeName;
use tokio::{sync::oneshot, time::Instant};

use super::wire::Word;
use crate::longpoll::budget::{Budget, Charge, Holder};

/// How long a poll is remembered at most whose client went away: 60 s. A node says that it has no answer to such a poll, but one of an earlier
/// version says nothing.
const REMEMBERED: Duration = Duration::from_secs(60);

/// The requests under way, by number.
pub(super) struct Asking {
    /// How many there are, and whose.
    slots: Arc<Budget>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    next: u64,
    open: HashMap<u64, Open>,
    given_up: BTreeMap<u64, GivenUp>,
}

struct Open {
    node: NodeName,
    /// The session that is asked for messages, if it is.
    polled: Option<ByteString>,
    room: Room,
    answer: oneshot::Sender<Answer>,
}

/// A poll whose client has gone away, while messages may be on their way to it.
struct GivenUp {
    node: NodeName,
    token: ByteString,
    since: Instant,
    slot: Charge,
}

/// What a request takes until its client has its answer.
pub(super) struct Room {
    /// One of the requests that there may be.
    pub(super) slot: Charge,
    /// For what the client is to be told.
    pub(super) answer: Charge,
}

/// What a node answered.
pub(super) struct Answer {
    pub(super) word: Word,
    pub(super) room: Room,
}

/// Messages came for a client that has gone away: the session of that token is not to go on without them.
#[must_use = "their session has to be ended"]
pub(super) struct Unheard {
    pub(super) token: ByteString,
    /// Taken until that is told.
    pub(super) slot: Charge,
}

/// One request, to be [given up](Self::give_up) where nobody waits for its answer any more.
pub(super) struct Question<'a> {
    asking: &'a Asking,
    request: u64,
    polled: Option<ByteString>,
    answer: oneshot::Receiver<Answer>,
}

impl Asking {
    pub(super) fn new(most: usize) -> Self {
        Self {
            slots: Budget::new(most),
            table: Mutex::default(),
        }
    }

    /// Room for one more request of that holder, who leaves as much to others as it has.
    pub(super) fn slot(&self, holder: &Holder) -> Option<Charge> {
        self.table().forget_old();
        let mut slot = self.slots.charge(Some(holder.clone()));
        slot.grow(1).then_some(slot)
    }

    /// A new request to that node. `polled` is the session that is asked for messages.
    pub(super) fn begin(
        &self,
        node: &NodeName,
        polled: Option<ByteString>,
        room: Room,
    ) -> Question<'_> {
        let (sender, answer) = oneshot::channel();
        let mut table = self.table();
        let request = table.next;
        table.next += 1;
        let open = Open {
            node: node.clone(),
            polled: polled.clone(),
            room,
            answer: sender,
        };
        table.open.insert(request, open);
        drop(table);
        Question {
            asking: self,
            request,
            polled,
            answer,
        }
    }

    /// A node answered. What it was not asked is nothing. What a client is to be told takes room as soon as it is here; where it finds none,
    /// the answer is that it is lost. It is also lost where the client has gone away meanwhile.
    pub(super) fn answer(
        &self,
        node: &NodeName,
        request: u64,
        mut word: Word,
    ) -> Result<(), Unheard> {
        let mut table = self.table();
        let is_its = |open: &Open| open.node == *node;
        if !table.open.get(&request).is_some_and(is_its) {
            let is_its = |given_up: &GivenUp| given_up.node == *node;
            if table.given_up.get(&request).is_some_and(is_its)
                && let Some(GivenUp { token, slot, .. }) = table.given_up.remove(&request)
                && let Word::Messages(_) = word
            {
                return Err(Unheard { token, slot });
            }
            return Ok(());
        }
        let open = table.open.remove(&request);
        drop(table);
        let Some(Open {
            polled,
            mut room,
            answer,
            ..
        }) = open
        else {
            return Ok(());
        };
        if let Word::Messages(_) = word
            && !room.answer.take_last(word.bytes())
        {
            let token = ByteString::new();
            word = Word::Lost { token };
        }
        // Whoever asked may have gone just now.
        match answer.send(Answer { word, room }) {
            Ok(()) => Ok(()),
            Err(unheard) => unheard.messages_of(polled),
        }
    }

    /// That node will not answer any more.
    pub(super) fn lose(&self, node: &NodeName) {
        let mut table = self.table();
        table.open.retain(|_, open| open.node != *node);
        table.given_up.retain(|_, given_up| given_up.node != *node);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while the lock is held, and each step leaves the table whole.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn forget_old(&mut self) {
        while let Some(first) = self.given_up.first_entry()
            && first.get().since.elapsed() >= REMEMBERED
        {
            first.remove();
        }
    }
}

impl Question<'_> {
    pub(super) fn request(&self) -> u64 {
        self.request
    }

    /// The session that is asked for messages, if it is.
    pub(super) fn polled(&self) -> Option<ByteString> {
        self.polled.clone()
    }

    /// The answer; none if the node went down.
    ///
    /// # Cancel safety
    /// The answer is there the next time.
    pub(super) async fn answer(&mut self) -> Option<Answer> {
        (&mut self.answer).await.ok()
    }

    /// It never left this node.
    pub(super) fn withdraw(&mut self) {
        self.asking.table().open.remove(&self.request);
    }

    /// Nobody waits for the answer any more. If it has come, what is in it is lost; else it will be when it comes.
    pub(super) fn give_up(&mut self) -> Result<(), Unheard> {
        let mut table = self.asking.table();
        if let Some(Open {
            node, polled, room, ..
        }) = table.open.remove(&self.request)
        {
            if let Some(token) = polled {
                let given_up = GivenUp {
                    node,
                    token,
                    since: Instant::now(),
                    slot: room.slot,
                };
                table.given_up.insert(self.request, given_up);
            }
            return Ok(());
        }
        drop(table);
        // What is sent from here on is given back to the one who sends it.
        self.answer.close();
        match self.answer.try_recv() {
            Ok(answer) => answer.messages_of(self.polled.take()),
            Err(_nothing) => Ok(()),
        }
    }
}

impl Answer {
    /// An error if it has messages.
    fn messages_of(self, polled: Option<ByteString>) -> Result<(), Unheard> {
        match (self.word, polled) {
            (Word::Messages(_), Some(token)) => Err(Unheard {
                token,
                slot: self.room.slot,
            }),
            _ => Ok(()),
        }
    }
}
