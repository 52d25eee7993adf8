//! A client of long polling: one session, all of whose requests go over one connection that is kept.

use std::io;
use std::net::SocketAddr;

use serde::Deserialize;

use crate::sockets::http::Http;

/// A client and its session.
pub(super) struct Poller {
    http: Http,
    path: String,
    token: String,
}

/// What a request of long polling is answered. Its status is the one that counts.
#[derive(Deserialize)]
struct Answer {
    status: u16,
    token: Option<String>,
    #[serde(default)]
    messages: Vec<String>,
}

impl Poller {
    /// Opens a session of a lab as that user.
    ///
    /// # Errors
    /// If it is refused, or the network fails.
    pub(super) async fn open(http: SocketAddr, user: &str) -> io::Result<Self> {
        let mut http = Http::connect(http).await?;
        let path = format!("/socket/longpoll?user={user}&vsn=2.0.0");
        let Answer { status, token, .. } = answer(&http.get(&path).await?)?;
        match (status, token) {
            // A new session is what 410 means to those who had none.
            (410, Some(token)) => Ok(Self { http, path, token }),
            _ => Err(unexpected(status)),
        }
    }

    /// Joins, and expects ok.
    ///
    /// # Errors
    /// If it is refused, or anything else comes first.
    pub(super) async fn join(&mut self, topic: &str) -> io::Result<()> {
        let line = format!(r#"["1","1","{topic}","phx_join",{{}}]"#);
        let Answer { status, .. } = answer(&self.http.post(&self.target(), &line).await?)?;
        if status != 200 {
            return Err(unexpected(status));
        }
        match &*self.poll().await? {
            [reply] if reply.contains(r#""status":"ok""#) => Ok(()),
            other => Err(io::Error::other(format!("a join is answered {other:?}"))),
        }
    }

    /// The messages of one poll; none if nothing came within the server's window.
    ///
    /// # Errors
    /// If the session is gone, or the connection.
    pub(super) async fn poll(&mut self) -> io::Result<Vec<String>> {
        let answer = answer(&self.http.get(&self.target()).await?)?;
        match (answer.status, answer.token) {
            (200 | 204, Some(token)) => {
                self.token = token;
                Ok(answer.messages)
            }
            (status, _) => Err(unexpected(status)),
        }
    }

    fn target(&self) -> String {
        format!("{}&token={}", self.path, self.token)
    }
}

fn answer(body: &[u8]) -> io::Result<Answer> {
    serde_json::from_slice(body).map_err(io::Error::from)
}

fn unexpected(status: u16) -> io::Error {
    io::Error::other(format!("answered with status {status}"))
}
