//! A socket's subscription to its own id, by which the whole cluster reaches it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use crate::fastlane::delivery;
use crate::link::{Link, Mail};
use crate::order::{ORDER, Order};
use crate::pubsub::{Delivery, Message, Sink};
use crate::transport::{Close, CloseCode};
use crate::{Broadcast, wire};
use matryoshka_transport::excerpt;

/// What the sockets of one id listen with.
pub(crate) struct ById {
    pub(crate) link: Arc<Link>,
    pub(crate) peer_addr: Option<SocketAddr>,
    pub(crate) connected_at: SystemTime,
}

impl Sink for ById {
    fn deliver(&self, message: &Message) -> Delivery {
        if message.kind() == ORDER {
            return self.order(message);
        }
        match Broadcast::from_message(message) {
            Some(Ok(broadcast)) if broadcast.event() == wire::DISCONNECT => {
                self.link.is_disconnected.store(true, Ordering::Release);
                let close = Close::new(CloseCode::GOING_AWAY);
                delivery(self.link.outbox.close(close))
            }
            // Not for sockets; whoever else listens on the topic gets it.
            _ => Delivery::Delivered,
        }
    }
}

impl ById {
    fn order(&self, message: &Message) -> Delivery {
        match Order::from_message(message) {
            Ok(order) => {
                let (bytes, is_urgent) = (order.bytes(), order.is_urgent());
                let (outbox, mail) = (&self.link.outbox, Mail::order(order));
                delivery(match is_urgent {
                    true => outbox.urgent_mail_of(mail, bytes),
                    false => outbox.mail_of(mail, bytes),
                })
            }
            Err(error) => {
                if let Some(left_out) = self.link.counters.lines.bad_order.pass_now() {
                    let id = excerpt(message.topic());
                    tracing::warn!(id, %error, left_out, "an order to a socket is dropped");
                }
                Delivery::Dropped
            }
        }
    }
}
