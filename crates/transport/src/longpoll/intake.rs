//! The body of a post on its way in, and the room that it takes meanwhile. Where there is none, it waits for its turn: what others hold is given back
//! as their posts are taken.

use std::{pin::pin, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::time::{Instant, sleep, timeout};

use super::{LongPollConfig, RETRY, budget::Charge, session::Coming, upstream::NotTaken};
use crate::http_service::RequestBody;

/// What is set aside for a body before any of it came, in bytes: its stated length, but no more than this. A client that states much
/// and sends nothing costs no more.
const SET_ASIDE_BYTES: usize = 4 * 1024;

/// The room of one post: in its session, if that is here, and on this node. There it grows with what has come, since anybody can state much; in the
/// session a stated length counts from the start, or two bodies might each wait for what the other has taken.
pub(super) struct Room<'a> {
    pub(super) session: Option<Coming<'a>>,
    pub(super) node: Charge,
    /// Until when it may wait for more.
    pub(super) end: Instant,
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
    /// Waits until there is room for a body that states so many bytes.
    async fn open(&mut self, stated: usize) -> Result<(), NotRead> {
        self.wait(|room| {
            let fits = room.node.could_grow(stated);
            let fits = fits.then_some(()).ok_or(NotRead::NoRoom);
            fits.and_then(|()| room.grow_in_session(stated))
        })
        .await
    }

    /// Waits until there is room for so many bytes more, some of which were not stated.
    async fn grow(&mut self, bytes: usize, unstated: usize) -> Result<(), NotRead> {
        self.wait(|room| {
            if !room.node.grow(bytes) {
                return Err(NotRead::NoRoom);
            }
            let grown = room.grow_in_session(unstated);
            grown.inspect_err(|_| room.node.give_back(bytes))
        })
        .await
    }

    fn grow_in_session(&mut self, bytes: usize) -> Result<(), NotRead> {
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        Ok(session.grow(bytes)?)
    }

    /// Tries until there is room, or it is too late.
    async fn wait(
        &mut self,
        mut take: impl FnMut(&mut Self) -> Result<(), NotRead>,
    ) -> Result<(), NotRead> {
        loop {
            let taken = take(self);
            let may_fit = matches!(
                taken,
                Err(NotRead::NoRoom | NotRead::NotTaken(NotTaken::Full))
            );
            if !may_fit || Instant::now() >= self.end {
                return taken;
            }
            sleep(RETRY).await;
        }
    }
}

impl From<NotTaken> for NotRead {
    fn from(not_taken: NotTaken) -> Self {
        Self::NotTaken(not_taken)
    }
}

/// Reads a body, as far as there is room for it. One whose stated length has none is not read until it has.
pub(super) async fn read<B: RequestBody>(
    body: B,
    config: &LongPollConfig,
    room: &mut Room<'_>,
) -> Result<Bytes, NotRead> {
    let stated = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    // One that can never have room would wait for it in vain.
    let most = config.max_body_bytes.min(room.node.most());
    if stated > most {
        return Err(NotRead::TooLarge(most));
    }
    room.open(stated).await?;
    let time = config.body_timeout;
    let collected = collect(body, stated, most, room);
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
    while let Some(frame) = body
        .frame()
        .await
        .map(|read| read.map_err(|_| NotRead::Broken))
    {
        let Ok(data) = frame?.into_data() else {
            continue; // Trailers.
        };
        let bytes = data.remaining();
        if bytes > most - all.len() {
            return Err(NotRead::TooLarge(most));
        }
        let unstated = (all.len() + bytes).saturating_sub(stated.max(all.len()));
        room.grow(bytes, unstated).await?;
        all.put(data);
    }
    Ok(all.freeze())
}
