//! Connections that wait for a request, or for the rest of one: how many there may be, in all and from one address.
//!
//! Until its request is whole, nothing above knows of a connection, and it costs a file descriptor all the same.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use http::header::{CONNECTION, HeaderValue};
use http::{Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use matryoshka_presence::channel::transport::counted_address;

/// How many connections may wait for a request at a time. None is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeadLimits {
    /// In all.
    pub(crate) in_all: Option<usize>,
    /// From one address, loopback not counted; addresses of IPv6 count by their first 64 bits. What comes through a proxy counts as
    /// the proxy's, since only a whole head could tell more.
    pub(crate) of_address: Option<usize>,
}

/// Those that wait now. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Heads {
    limits: HeadLimits,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    in_all: usize,
    of_address: HashMap<IpAddr, usize>,
}

/// One connection that waits, until this is dropped.
#[derive(Debug)]
struct Head {
    heads: Heads,
    address: Option<IpAddr>,
}

impl Heads {
    pub(crate) fn new(limits: HeadLimits) -> Self {
        Self {
            limits,
            counts: Arc::default(),
        }
    }

    /// A connection waits, a new one or one whose request is answered, or it is one too many.
    fn enter(&self, ip: IpAddr) -> Option<Head> {
        let address = counted_address(ip);
        let mut counts = self.lock();
        let of_address = address.map_or(0, |address| counts.of(&address));
        let is_over = |count, most: Option<usize>| most.is_some_and(|most| count >= most);
        if is_over(counts.in_all, self.limits.in_all) || is_over(of_address, self.limits.of_address)
        {
            return None;
        }
        Some(self.count(&mut counts, address))
    }

    fn count(&self, counts: &mut Counts, address: Option<IpAddr>) -> Head {
        counts.in_all += 1;
        if let Some(address) = address {
            *counts.of_address.entry(address).or_default() += 1;
        }
        Head {
            heads: self.clone(),
            address,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Two numbers are whole whenever a panic could strike.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn of(&self, address: &IpAddr) -> usize {
        self.of_address.get(address).copied().unwrap_or(0)
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        let mut counts = self.heads.lock();
        counts.in_all -= 1;
        let Some(address) = self.address else { return };
        if let Some(count) = counts.of_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                counts.of_address.remove(&address);
            }
        }
    }
}

/// Whether one connection waits for a request or the rest of one; while one is answered it does not.
#[derive(Clone)]
pub(crate) struct Waiting {
    heads: Heads,
    peer: SocketAddr,
    head: Arc<Mutex<Option<Head>>>,
}

impl Waiting {
    /// It waits for its first request, unless it is one too many.
    pub(crate) fn begin(heads: &Heads, peer: SocketAddr) -> Option<Self> {
        let head = heads.enter(peer.ip())?;
        Some(Self {
            heads: heads.clone(),
            peer,
            head: Arc::new(Mutex::new(Some(head))),
        })
    }

    /// Whose connection it is.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The body of its request, which it waits for.
    pub(crate) fn for_body<B: Body + Unpin>(self, body: B) -> Awaited<B> {
        let waiting = self;
        let awaited = Awaited { body, waiting };
        awaited.note_end();
        awaited
    }

    /// Answers one request. Where the connection would be one too many to wait for another, that answer is its last.
    pub(crate) async fn over<B, E>(
        self,
        answer: impl Future<Output = Result<Response<B>, E>>,
    ) -> Result<Response<B>, E> {
        let mut answered = answer.await?;
        if answered.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.set(None);
        } else if !self.again() {
            let close = HeaderValue::from_static("close");
            answered.headers_mut().insert(CONNECTION, close);
        }
        Ok(answered)
    }

    /// It waits for the next request, unless it would be one too many. It may still wait for the rest of a body that nobody wanted.
    fn again(&self) -> bool {
        let mut head = self.lock();
        if head.is_none() {
            *head = self.heads.enter(self.peer.ip());
        }
        head.is_some()
    }

    fn set(&self, head: Option<Head>) {
        *self.lock() = head;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Head>> {
        // It is whole whenever a panic could strike.
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body, until whose end its connection waits.
pub(crate) struct Awaited<B> {
    body: B,
    waiting: Waiting,
}

impl<B: Body + Unpin> Awaited<B> {
    fn note_end(&self) {
        if self.body.is_end_stream() {
            self.waiting.set(None);
        }
    }
}

impl<B: Body + Unpin> Body for Awaited<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            None => self.waiting.set(None),
            Some(_) => self.note_end(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heads(in_all: usize, of_address: usize) -> Heads {
        Heads::new(HeadLimits {
            in_all: Some(in_all),
            of_address: Some(of_address),
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn they_are_bounded_in_all_and_by_address() {
        let heads = heads(4, 2);
        let first = heads.enter(ip("192.0.2.1")).unwrap();
        let _mapped = heads.enter(ip("::ffff:192.0.2.1")).unwrap();
        assert!(heads.enter(ip("192.0.2.1")).is_none());
        let _same_network = [
            heads.enter(ip("2001:db8::1")),
            heads.enter(ip("2001:db8::f:1")),
        ]
        .map(Option::unwrap);
        assert!(heads.enter(ip("2001:db8::2")).is_none());
        assert!(heads.enter(ip("192.0.2.2")).is_none(), "in all");
        drop(first);
        assert!(
            heads.enter(ip("2001:db8::2")).is_none(),
            "its network is full"
        );
        drop(heads.enter(ip("192.0.2.1")).unwrap());
        drop(heads.enter(ip("192.0.2.2")).unwrap());
    }

    #[test]
    fn loopback_counts_in_all_only_and_nothing_is_kept_of_the_gone() {
        let heads = heads(3, 1);
        let all = ["127.0.0.1", "127.0.0.1", "::1"].map(|text| heads.enter(ip(text)).unwrap());
        assert!(heads.enter(ip("127.0.0.1")).is_none());
        drop(all);
        drop(heads.enter(ip("192.0.2.1")));
        assert!(heads.lock().of_address.is_empty());
    }
}
