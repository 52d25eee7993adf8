//! Answers of other nodes' sessions that clients of this node have not read, by session: one that reads nothing gets nothing more, and takes no
//! room from others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytestring::ByteString;

use crate::longpoll::budget::Charge;

/// By token, how many bytes. There are no more tokens than sessions: what is answered to one that is made up is not counted here.
#[derive(Default)]
pub(super) struct UnreadAnswers(Mutex<HashMap<ByteString, usize>>);

impl UnreadAnswers {
    /// How much the client of a session has not read.
    pub(super) fn of(&self, token: &str) -> usize {
        self.tokens().get(token).copied().unwrap_or_default()
    }

    fn tokens(&self) -> MutexGuard<'_, HashMap<ByteString, usize>> {
        // Nothing panics while the lock is held, and each step leaves the table whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer that its client has not read yet; dropped, it has, or never will.
pub(in crate::longpoll) struct Unread {
    answers: Arc<UnreadAnswers>,
    token: ByteString,
    bytes: usize,
    charge: Charge,
}

impl Unread {
    /// Nothing of its session yet; the charge is what it has of the node's room.
    pub(super) fn new(answers: &Arc<UnreadAnswers>, token: ByteString, charge: Charge) -> Self {
        Self {
            answers: Arc::clone(answers),
            token,
            bytes: 0,
            charge,
        }
    }

    /// It takes so many bytes as it is sent.
    pub(in crate::longpoll) fn settle(&mut self, bytes: usize) {
        self.charge.settle(bytes);
        let mut tokens = self.answers.tokens();
        let of_token = tokens.entry(self.token.clone()).or_default();
        *of_token = *of_token - self.bytes + bytes;
        self.bytes = bytes;
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let mut tokens = self.answers.tokens();
        let Some(of_token) = tokens.get_mut(&self.token) else {
            return;
        };
        *of_token -= self.bytes;
        if *of_token == 0 {
            tokens.remove(&self.token);
        }
    }
}
