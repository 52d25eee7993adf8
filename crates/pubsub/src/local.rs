//! The adapter of a cluster of one.

use std::time::SystemTime;

use crate::{
    Adapter, AdapterError, DirectError, Envelope, Inbound, Incarnation, NodeName, Reached,
};

/// A node alone: reaches nobody, hears nobody.
pub(crate) struct Local {
    node: NodeName,
    incarnation: Incarnation,
}

impl Local {
    pub(crate) fn start() -> Self {
        Self {
            node: NodeName::new("local").expect("a valid name"),
            incarnation: Incarnation::at(SystemTime::now()),
        }
    }
}

impl Adapter for Local {
    fn node(&self) -> NodeName {
        self.node.clone()
    }

    fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    fn attach(&self, _inbound: Inbound) {}

    fn broadcast(&self, _envelope: &Envelope) -> Result<Reached, AdapterError> {
        Ok(Reached::default())
    }

    fn send(&self, to: &NodeName, _envelope: &Envelope) -> Result<(), DirectError> {
        Err(DirectError::NoSuchNode(to.clone()))
    }
}
