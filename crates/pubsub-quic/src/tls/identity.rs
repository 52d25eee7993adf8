//! A running node's identity: its credentials, which change while it runs, and its clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use super::TlsError;
use super::credentials::{Credentials, Kind};
use super::own::{Pki, PkiError};
use super::validity::{Countdown, Nearness};
use crate::clock::{Clock, Utc, roughly};
use crate::proto::notice::{Level, Notice};
use crate::secret::Secret;

/// How long a renewal that failed is not tried again.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// See the module. Every handshake asks it anew, so a change counts at once; open connections do not ask.
#[derive(Debug)]
pub(crate) struct Identity {
    /// What the node's certificates are issued for.
    name: String,
    clock: Clock,
    current: RwLock<Arc<Credentials>>,
    care: Mutex<Care>,
}

/// What looking after the certificate has to remember.
#[derive(Debug, Default)]
struct Care {
    countdown: Countdown,
    failed_at: Option<SystemTime>,
}

impl Identity {
    pub(crate) fn new(name: String, clock: Clock, credentials: Credentials) -> Self {
        Self {
            name,
            clock,
            current: RwLock::new(Arc::new(credentials)),
            care: Mutex::default(),
        }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What counts at this moment.
    pub(crate) fn credentials(&self) -> Arc<Credentials> {
        let current = self.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Issues with another secret and accepts others from now on. Without a change the certificate stays.
    pub(crate) fn set_secret(&self, secret: &Secret) -> Result<(), TlsError> {
        if !self.credentials().are_of_secret(secret) {
            let derived = Credentials::derive(secret, &self.name, self.clock.now())?;
            self.replace(derived);
        }
        Ok(())
    }

    /// Shows another certificate and accepts those of other authorities from now on.
    pub(crate) fn set_pki(&self, pki: Pki) -> Result<(), PkiError> {
        let is_same = self.credentials().are_of_pki(&pki);
        // Also what is there already has to count today: whoever hands it in again wants to know.
        let own = Credentials::own(pki, &self.name, self.clock.now())?;
        if !is_same {
            self.replace(own);
            *self.care() = Care::default();
        }
        Ok(())
    }

    /// To be called again and again: renews the leaf when it is time, and gives what the operator has to be told.
    pub(crate) fn tend(&self) -> Option<Notice> {
        let (now, current) = (self.clock.now(), self.credentials());
        match current.kind() {
            Kind::Secret => self.renew(&current, now),
            Kind::Pki => self.warn(&current, now),
        }
    }

    fn renew(&self, current: &Arc<Credentials>, now: SystemTime) -> Option<Notice> {
        if self
            .care()
            .failed_at
            .is_some_and(|at| is_within(at, now, RETRY_AFTER))
        {
            return None;
        }
        let (level, text) = match current.renewed(&self.name, now) {
            Ok(None) => return None,
            Ok(Some(renewed)) => {
                let text = format!(
                    "the certificate is renewed: SHA-256 {}, valid until {}",
                    renewed.certificate().fingerprint,
                    Utc(renewed.certificate().valid_until)
                );
                if !self.replace_if(current, renewed) {
                    return None;
                }
                (Level::Info, text)
            }
            Err(error) => {
                self.care().failed_at = Some(now);
                let text = format!("the certificate was not renewed, the old one stays: {error}");
                (Level::Warn, text)
            }
        };
        Some(Notice { level, text })
    }

    fn warn(&self, current: &Credentials, now: SystemTime) -> Option<Notice> {
        let certificate = current.certificate();
        let until = certificate.valid_until;
        let (level, when) = match self.care().countdown.news(until, now)? {
            Nearness::Far => return None,
            Nearness::Over => (Level::Error, "ended".to_owned()),
            Nearness::Day | Nearness::Week => {
                let left = until.duration_since(now).unwrap_or_default();
                (Level::Warn, format!("ends in {},", roughly(left)))
            }
        };
        let text = format!(
            "this node's certificate {when} on {}: put a renewed one in its place and have it read again, or no new \
             connection comes about (SHA-256 {})",
            Utc(until),
            certificate.fingerprint
        );
        Some(Notice { level, text })
    }

    fn replace(&self, with: Credentials) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(with);
    }

    /// Unless somebody gave the node another identity meanwhile.
    fn replace_if(&self, expected: &Arc<Credentials>, with: Credentials) -> bool {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let is_expected = Arc::ptr_eq(&current, expected);
        if is_expected {
            *current = Arc::new(with);
        }
        is_expected
    }

    fn care(&self) -> MutexGuard<'_, Care> {
        self.care.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the two are nearer to each other than `span`, whichever is the earlier one.
fn is_within(one: SystemTime, other: SystemTime, span: Duration) -> bool {
    let apart = one
        .duration_since(other)
        .unwrap_or_else(|other_way| other_way.duration());
    apart < span
}

#[cfg(test)]
mod tests;
