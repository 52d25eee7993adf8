//! Names of which a pubsub has each only once.

use std::fmt;

use matryoshka_registry::Registration;
use thiserror::Error;

use crate::PubSub;

/// Holds a name in one pubsub: whoever runs under that name is alone. Dropped, the name is free.
#[must_use = "dropping the claim frees the name"]
pub struct Claim {
    name: String,
    _registration: Registration,
    _pubsub: PubSub,
}

impl Claim {
    pub(crate) fn new(pubsub: &PubSub, name: String, registration: Registration) -> Self {
        Self {
            name,
            _registration: registration,
            _pubsub: pubsub.clone(),
        }
    }

    /// The name held.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Claim").field(&self.name).finish()
    }
}

/// The name is held by somebody else on this pubsub. Nothing changed: take another, or wait until it is dropped.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the name {name:?} is in use on this pubsub: take another, or wait until it is free")]
pub struct AlreadyClaimed {
    /// The name asked for.
    pub name: String,
}
