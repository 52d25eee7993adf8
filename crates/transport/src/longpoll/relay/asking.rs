//! Requests that other nodes are to answer.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytestring::ByteString;
use matryoshka_pubsub::NodeName;
use tokio::sync::oneshot;

use super::wire::Word;
use crate::longpoll::budget::Charge;

/// The requests under way, by number.
pub(super) struct Asking {
    most: usize,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    next: u64,
    open: HashMap<u64, Open>,
}

struct Open {
    node: NodeName,
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

/// One request; dropped, it is forgotten.
pub(super) struct Question<'a> {
    asking: &'a Asking,
    request: u64,
    answer: oneshot::Receiver<Answer>,
}

impl Asking {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            table: Mutex::default(),
        }
    }

    /// A new request to that node, unless too many are under way. The charge is for what its client is to be told.
    pub(super) fn begin(&self, node: &NodeName, charge: Charge) -> Option<Question<'_>> {
        let (sender, answer) = oneshot::channel();
        let mut table = self.table();
        if table.open.len() >= self.most {
            return None;
        }
        let request = table.next;
        table.next += 1;
        let open = Open {
            node: node.clone(),
            charge,
            answer: sender,
        };
        table.open.insert(request, open);
        drop(table);
        Some(Question {
            asking: self,
            request,
            answer,
        })
    }

    /// A node answered. What it was not asked is nothing. What a client is to be told takes room as soon as it is here; where it finds none,
    /// the answer is that it is lost.
    pub(super) fn answer(&self, node: &NodeName, request: u64, mut word: Word) {
        let mut table = self.table();
        let is_its = |open: &Open| open.node == *node;
        if !table.open.get(&request).is_some_and(is_its) {
            return;
        }
        let open = table.open.remove(&request);
        drop(table);
        let Some(Open {
            mut charge, answer, ..
        }) = open
        else {
            return;
        };
        if let Word::Messages(_) = word
            && !charge.take_last(word.bytes())
        {
            let token = ByteString::new();
            word = Word::Lost { token };
        }
        // Whoever asked may have gone just now.
        let _ = answer.send(Answer { word, charge });
    }

    /// That node will not answer any more.
    pub(super) fn lose(&self, node: &NodeName) {
        self.table().open.retain(|_, open| open.node != *node);
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
    pub(super) async fn answer(mut self) -> Option<Answer> {
        (&mut self.answer).await.ok()
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.asking.table().open.remove(&self.request);
    }
}
