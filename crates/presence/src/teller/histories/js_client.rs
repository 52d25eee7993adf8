//! What a browser holds: the client's presence algorithm, step by step, on the JSON it receives.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Key -> metas, as the client would list them.
pub(crate) type Held = BTreeMap<String, Vec<Value>>;

/// The state of one client on one topic.
#[derive(Clone, Debug, Default)]
pub(crate) struct JsPresence {
    held: Held,
    /// The join that the last state was for; diffs wait until it is the channel's.
    state_of: Option<u64>,
    pending: Vec<Value>,
}

impl JsPresence {
    /// `presence_state` came, for the channel's current join.
    pub(crate) fn handle_state(&mut self, join: u64, state: &Value) {
        self.state_of = Some(join);
        self.sync_state(&held(state));
        for diff in std::mem::take(&mut self.pending) {
            self.sync_diff(&diff);
        }
    }

    /// `presence_diff` came, while the channel's current join is `join`.
    pub(crate) fn handle_diff(&mut self, join: u64, diff: &Value) {
        if self.state_of == Some(join) {
            self.sync_diff(diff);
        } else {
            self.pending.push(diff.clone());
        }
    }

    /// Whether changes wait for a list.
    #[allow(
        dead_code,
        reason = "one of two crates that include this file needs it"
    )]
    pub(crate) fn waits(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Forgets the changes that wait for a list.
    #[allow(
        dead_code,
        reason = "one of two crates that include this file needs it"
    )]
    pub(crate) fn lose_what_waits(&mut self) {
        self.pending.clear();
    }

    /// What it holds, the metas of each key sorted by reference, since their order means nothing to users.
    pub(crate) fn list(&self) -> Held {
        sorted(self.held.clone())
    }

    fn sync_state(&mut self, new: &Held) {
        let (mut joins, mut leaves) = (Held::new(), Held::new());
        for (key, metas) in &self.held {
            let gone = without(metas, new.get(key).map_or(&[], Vec::as_slice));
            if !gone.is_empty() {
                leaves.insert(key.clone(), gone);
            }
        }
        for (key, metas) in new {
            let come = without(metas, self.held.get(key).map_or(&[], Vec::as_slice));
            if !come.is_empty() {
                joins.insert(key.clone(), come);
            }
        }
        self.apply(joins, leaves);
    }

    fn sync_diff(&mut self, diff: &Value) {
        self.apply(held(&diff["joins"]), held(&diff["leaves"]));
    }

    fn apply(&mut self, joins: Held, leaves: Held) {
        for (key, metas) in joins {
            let before = self.held.remove(&key).unwrap_or_default();
            let mut now = without(&before, &metas);
            now.extend(metas);
            self.held.insert(key, now);
        }
        for (key, metas) in leaves {
            let Some(before) = self.held.get_mut(&key) else {
                continue;
            };
            *before = without(before, &metas);
            if before.is_empty() {
                self.held.remove(&key);
            }
        }
    }
}

/// `{key: {"metas": [...]}}` as a client reads it.
pub(crate) fn held(presences: &Value) -> Held {
    let empty = Map::new();
    let entries = presences.as_object().unwrap_or(&empty).iter();
    entries
        .map(|(key, presence)| {
            let metas = presence["metas"].as_array().expect("each key has metas");
            (key.clone(), metas.clone())
        })
        .collect()
}

/// The metas of each key sorted by reference.
pub(crate) fn sorted(mut held: Held) -> Held {
    for metas in held.values_mut() {
        metas.sort_by(|a, b| reference(a).cmp(reference(b)));
    }
    held
}

fn without(metas: &[Value], others: &[Value]) -> Vec<Value> {
    let known = |meta: &&Value| {
        !others
            .iter()
            .any(|other| reference(other) == reference(meta))
    };
    metas.iter().filter(known).cloned().collect()
}

fn reference(meta: &Value) -> &str {
    meta["phx_ref"].as_str().expect("each meta has a reference")
}
