//! The body of a post on its way in, and the room that it takes meanwhile.

use std::{pin::pin, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::{LongPollConfig, budget::Charge, session::Coming, upstream::NotTaken};
use crate::http_service::RequestBody;

/// What is set aside for a body before any of it came, in bytes: its stated length, but no more than this. A client that states much
/// and sends nothing costs no more.
const SET_ASIDE_BYTES: usize = 4 * 1024;

/// The room of one post: in its session, if that is here, and on this node. It grows with what has come.
pub(super) struct Room<'a> {
    pub(super) session: Option<Coming<'a>>,
    pub(super) node: Charge,
}

/// Why a body was not read to its end.
#[derive(Debug)]
pub(super) enum NotRead {
    /// It has more bytes than this.
    TooLarge(usize),
    /// It did not come in this time.
    TooSlow(Duration),
    /// It ended too early.
    Broken,
    /// Its session takes no more, or is gone.
    NotTaken(NotTaken),
    /// This node takes no more.
    NoRoom,
}

impl Room<'_> {
    fn check(&self, bytes: usize) -> Result<(), NotRead> {
        if let Some(session) = &self.session {
            session.could_grow(bytes)?;
        }
        let fits = self.node.could_grow(bytes);
        fits.then_some(()).ok_or(NotRead::NoRoom)
    }

    fn grow(&mut self, bytes: usize) -> Result<(), NotRead> {
        if let Some(session) = &mut self.session {
            session.grow(bytes)?;
        }
        let fits = self.node.grow(bytes);
        fits.then_some(()).ok_or(NotRead::NoRoom)
    }
}

impl From<NotTaken> for NotRead {
    fn from(not_taken: NotTaken) -> Self {
        Self::NotTaken(not_taken)
    }
}

/// Reads a body, as far as there is room for it. One whose stated length has none is not read at all.
pub(super) async fn read<B: RequestBody>(
    body: B,
    config: &LongPollConfig,
    room: &mut Room<'_>,
) -> Result<Bytes, NotRead> {
    let stated = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if stated > config.max_body_bytes {
        return Err(NotRead::TooLarge(config.max_body_bytes));
    }
    room.check(stated)?;
    let time = config.body_timeout;
    let collected = collect(body, stated, config.max_body_bytes, room);
    match timeout(time, collected).await {
        Ok(read) => read,
        Err(_elapsed) => Err(NotRead::TooSlow(time)),
    }
}

/// Copies, so that pieces of a byte each hold on to no more than that.
async fn collect<B: RequestBody>(
    body: B,
    stated: usize,
    most: usize,
    room: &mut Room<'_>,
) -> Result<Bytes, NotRead> {
    let mut body = pin!(body);
    let mut all = BytesMut::with_capacity(stated.min(SET_ASIDE_BYTES));
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| NotRead::Broken)?.into_data() else {
            continue; // Trailers.
        };
        let bytes = data.remaining();
        if bytes > most - all.len() {
            return Err(NotRead::TooLarge(most));
        }
        room.grow(bytes)?;
        all.put(data);
    }
    Ok(all.freeze())
}
