//! The mailbox of one connection, sending side: frames to write, mail for the session, the order to close.

use std::fmt;

use matryoshka_pubsub::mailbox::{self, Bound, MailboxReceiver, MailboxSender, Overflow, Pushed};

use crate::{close::Close, frame::Frame};

/// The way to one connection from anywhere: cheap to clone, never blocks, keeps order.
///
/// It is bounded by [`Limits`](crate::Limits). A client that reads so slowly that the bound is reached loses its
/// connection with 1008, together with all that waited for it; nobody else notices. After the connection has ended
/// everything put here is dropped.
pub struct Outbox<M> {
    sender: MailboxSender<Item<M>>,
}

impl<M> Outbox<M> {
    /// Puts a frame, which is written as it is, without waking the session.
    pub fn frame(&self, frame: Frame) -> Pushed {
        let bytes = frame.len();
        self.sender.push(Item::Frame(frame), bytes)
    }

    /// Puts a mail for [`Session::handle_mail`](crate::Session::handle_mail). It counts as one item without bytes.
    pub fn mail(&self, mail: M) -> Pushed {
        self.sender.push(Item::Mail(mail), 0)
    }

    /// As [`mail`](Self::mail), for a mail that holds so many bytes; they count as those of frames do.
    pub fn mail_of(&self, mail: M, bytes: usize) -> Pushed {
        self.sender.push(Item::Mail(mail), bytes)
    }

    /// Orders the connection to close after everything that was put here before; what comes later is dropped. The
    /// client is sent the close's code; the session is told by [`CloseReason::Closed`](crate::CloseReason::Closed).
    ///
    /// A client that does not read cannot delay it: the session is told all the same, and what the client has not
    /// taken within [`close_timeout`](crate::Limits::close_timeout) is lost to it.
    pub fn close(&self, close: Close) -> Pushed {
        let pushed = self.sender.push(Item::Close(close), 0);
        self.sender.close();
        pushed
    }

    /// Whether the connection has ended, or was ordered to.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

impl<M> Clone for Outbox<M> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
        }
    }
}

impl<M> fmt::Debug for Outbox<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("is_closed", &self.is_closed())
            .finish()
    }
}

/// The receiving side, held by the connection's task.
pub(crate) type Inbox<M> = MailboxReceiver<Item<M>>;

/// What stands in the mailbox.
pub(crate) enum Item<M> {
    /// To be written as it is.
    Frame(Frame),
    /// To be handled by the session.
    Mail(M),
    /// To end the connection.
    Close(Close),
}

/// A new mailbox with the bound of one connection.
pub(crate) fn outbox<M>(bytes: usize, items: usize) -> (Outbox<M>, Inbox<M>) {
    let bound = Bound {
        messages: items,
        bytes,
        overflow: Overflow::Close,
    };
    let (sender, receiver) = mailbox::mailbox(bound);
    (Outbox { sender }, receiver)
}
