//! Requests that other nodes are to answer.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytestring::ByteString;
use matryoshka_pubsub::NodeName;
use tokio::sync::oneshot;

use super::wire::Word;
use crate::longpoll::budget::Charge;

/// How many requests are remembered whose client went away: for as long as their answers may be on their way, and no longer than others push them out.
const GIVEN_UP: usize = 1_000;

/// The requests under way, by number.
pub(super) struct Asking {
    most: usize,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    next: u64,
    open: HashMap<u64, Open>,
    /// Polls whose clients have gone away, and the sessions that they asked.
    given_up: BTreeMap<u64, (NodeName, ByteString)>,
}

struct Open {
    node: NodeName,
    /// The session that is asked for messages, if it is.
    polled: Option<ByteString>,
    /// For what its client is to be told.
    charge: Charge,
    answer: oneshot::Sender<Answer>,
}

/// What a node answered.
pub(super) struct Answer {
    pub(super) word: Word,
    /// The room that it takes until the client has read it.
    pub(super) charge: Charge,
}

/// Messages came for a client that has gone away: the session of that token is not to go on without them.
#[must_use = "their session has to be ended"]
pub(super) struct Unheard {
    pub(super) token: ByteString,
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
            most,
            table: Mutex::default(),
        }
    }

    /// A new request to that node, unless too many are under way. The charge is for what its client is to be told, and `polled` the session
    /// that is asked for messages.
    pub(super) fn begin(
        &self,
        node: &NodeName,
        polled: Option<ByteString>,
        charge: Charge,
    ) -> Option<Question<'_>> {
        let (sender, answer) = oneshot::channel();
        let mut table = self.table();
        if table.open.len() >= self.most {
            return None;
        }
        let request = table.next;
        table.next += 1;
        let asked = polled.clone();
        let open = Open {
            node: node.clone(),
            polled,
            charge,
            answer: sender,
        };
        table.open.insert(request, open);
        drop(table);
        Some(Question {
            asking: self,
            request,
            polled: asked,
            answer,
        })
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
            let is_its = |given_up: &(NodeName, ByteString)| given_up.0 == *node;
            if table.given_up.get(&request).is_some_and(is_its)
                && let Some((_, token)) = table.given_up.remove(&request)
                && let Word::Messages(_) = word
            {
                return Err(Unheard { token });
            }
            return Ok(());
        }
        let open = table.open.remove(&request);
        drop(table);
        let Some(Open {
            polled,
            mut charge,
            answer,
            ..
        }) = open
        else {
            return Ok(());
        };
        if let Word::Messages(_) = word
            && !charge.take_last(word.bytes())
        {
            let token = ByteString::new();
            word = Word::Lost { token };
        }
        // Whoever asked may have gone just now.
        match answer.send(Answer { word, charge }) {
            Ok(()) => Ok(()),
            Err(unheard) => unheard.messages_of(polled),
        }
    }

    /// That node will not answer any more.
    pub(super) fn lose(&self, node: &NodeName) {
        let mut table = self.table();
        table.open.retain(|_, open| open.node != *node);
        table.given_up.retain(|_, (asked, _)| asked != node);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while the lock is held, and each step leaves the table whole.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Question<'_> {
    pub(super) fn request(&self) -> u64 {
        self.request
    }

    /// The answer; none if the node went down.
    ///
    /// # Cancel safety
    /// The answer is there the next time.
    pub(super) async fn answer(&mut self) -> Option<Answer> {
        (&mut self.answer).await.ok()
    }

    /// Nobody waits for the answer any more. If it has come, what is in it is lost; else it will be when it comes.
    pub(super) fn give_up(&mut self) -> Result<(), Unheard> {
        let mut table = self.asking.table();
        if let Some(Open { node, polled, .. }) = table.open.remove(&self.request) {
            if let Some(token) = polled {
                table.given_up.insert(self.request, (node, token));
            }
            if table.given_up.len() > GIVEN_UP {
                table.given_up.pop_first();
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
            (Word::Messages(_), Some(token)) => Err(Unheard { token }),
            _ => Ok(()),
        }
    }
}
