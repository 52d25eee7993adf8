//! The long-poll sessions of this node, by number.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use matryoshka_pubsub::NodeName;
use tokio::time::Instant;

use super::{
    LongPollConfig,
    budget::{Budget, Holder},
    counters::Counters,
    session::Shared,
    token::{Token, TokenKey},
};
use crate::{
    connections::census::{Address, Census},
    log_limit::LongPollLines,
};

/// All sessions of this node.
pub(super) struct Sessions {
    config: LongPollConfig,
    node: NodeName,
    key: TokenKey,
    start: Instant,
    table: Mutex<Table>,
    counters: Counters,
    lines: LongPollLines,
    /// Of posts to them.
    posted: Arc<Budget>,
}

#[derive(Default)]
struct Table {
    next: u64,
    /// Those that have no session yet counted too.
    taken: usize,
    open: HashMap<u64, Arc<Shared>>,
    addresses: Census<Address>,
}

/// Why there is no seat for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoSeat {
    /// All are taken.
    Full,
    /// Its address has as many as it may.
    Address,
}

/// Where the session of a token is.
pub(super) enum Place {
    Here(Arc<Shared>),
    There(NodeName),
    Nowhere,
}

impl Sessions {
    pub(super) fn new(config: LongPollConfig, node: NodeName, key: [u8; 32]) -> Arc<Self> {
        Arc::new(Self {
            posted: Budget::new(config.max_posted_bytes),
            config,
            node,
            key: TokenKey::new(key),
            start: Instant::now(),
            table: Mutex::default(),
            counters: Counters::default(),
            lines: LongPollLines::default(),
        })
    }

    pub(super) fn config(&self) -> &LongPollConfig {
        &self.config
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Limits what is said of all clients.
    pub(super) fn lines(&self) -> &LongPollLines {
        &self.lines
    }

    /// A post has no room, by that limit: its client starts over.
    pub(super) fn refuse_post(&self, limit: &'static str) {
        self.counters.posts_refused.add_one();
        if let Some(left_out) = self.lines.no_room.pass_now() {
            tracing::warn!(
                limit,
                left_out,
                "a post was refused: what is under way of its client, or of all, is as much as may be; raise the limit, or name the proxy by \
                 which all come (HttpConfig::with_trusted_proxies)"
            );
        }
    }

    /// A poll for another node has none.
    pub(super) fn refuse_poll(&self) {
        if let Some(left_out) = self.lines.no_room_for_answer.pass_now() {
            tracing::warn!(
                limit = "LongPollConfig::max_answer_bytes",
                left_out,
                "a poll was refused, and its client starts over: it has, or all have, as much unread that came from other nodes as may be; \
                 raise the limit, or name the proxy by which all come (HttpConfig::with_trusted_proxies)"
            );
        }
    }

    /// A frame cannot be told its client.
    pub(super) fn drop_binary(&self) {
        self.counters.binary_dropped.add_one();
        if let Some(left_out) = self.lines.binary.pass_now() {
            tracing::warn!(
                left_out,
                "a binary frame was dropped: clients of long polling read none; send JSON where they are to have it"
            );
        }
    }

    /// What posts of clients that came to this node may take.
    pub(super) fn posted(&self) -> &Arc<Budget> {
        &self.posted
    }

    pub(super) fn count(&self) -> usize {
        self.table().open.len()
    }

    /// Room for one more session of a client from there.
    pub(super) fn take_seat(self: &Arc<Self>, client: Option<SocketAddr>) -> Result<Seat, NoSeat> {
        let address = client.and_then(Address::of);
        let mut table = self.table();
        if table.taken >= self.config.max_sessions {
            self.counters.full.add_one();
            return Err(NoSeat::Full);
        }
        let most = self.config.max_sessions_per_address;
        if let Some(address) = address
            && !table.addresses.enter(address, most)
        {
            self.counters.full_address.add_one();
            return Err(NoSeat::Address);
        }
        table.taken += 1;
        let number = table.next;
        table.next += 1;
        let sessions = Arc::clone(self);
        Ok(Seat {
            sessions,
            number,
            address,
        })
    }

    /// Finds the session of a token that may come from anybody.
    pub(super) fn find(&self, text: &str) -> Place {
        match Token::read(text) {
            Some(token) if token.node != self.node => Place::There(token.node),
            Some(_) => self.find_here(text).map_or(Place::Nowhere, Place::Here),
            None => Place::Nowhere,
        }
    }

    /// The session of a token, if it is on this node and the token good.
    pub(super) fn find_here(&self, text: &str) -> Option<Arc<Shared>> {
        let token = self.key.verify(text)?;
        let is_old = self.start.elapsed() > token.issued.saturating_add(self.config.token_age);
        let session = self.table().open.get(&token.session).cloned();
        session.filter(|_| token.node == self.node && !is_old)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while the lock is held, and each step leaves the table whole.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One session's place. Dropped, the place is free and the session is found no more.
pub(super) struct Seat {
    sessions: Arc<Sessions>,
    number: u64,
    address: Option<Address>,
}

impl Seat {
    /// Makes the session, to be found from now on by the token returned.
    pub(super) fn open(&self) -> (Arc<Shared>, String) {
        let Sessions {
            node,
            start,
            config,
            ..
        } = &*self.sessions;
        let holder = match self.address {
            Some(address) => Holder::Address(address),
            None => Holder::Session(Some((node.clone(), self.number))),
        };
        let session = Arc::new(Shared::new(config, holder));
        let entry = Arc::clone(&session);
        self.sessions.table().open.insert(self.number, entry);
        self.sessions.counters.opened.add_one();
        let token = Token {
            node: node.clone(),
            session: self.number,
            issued: start.elapsed(),
        };
        (session, self.sessions.key.sign(&token))
    }

    pub(super) fn config(&self) -> &LongPollConfig {
        &self.sessions.config
    }

    pub(super) fn drop_binary(&self) {
        self.sessions.drop_binary();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut table = self.sessions.table();
        table.taken -= 1;
        if let Some(address) = &self.address {
            table.addresses.leave(address);
        }
        let session = table.open.remove(&self.number);
        drop(table);
        drop(session);
    }
}
