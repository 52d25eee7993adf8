//! Who is in a room, as a client holds it: a state, then diffs, keyed by user, with one reference per place.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// One client's list of one room.
#[derive(Default)]
pub(crate) struct People {
    /// Nothing until the state of the current join has arrived.
    references: Option<BTreeMap<String, BTreeSet<String>>>,
    /// Diffs that came before the state.
    early: Vec<Value>,
    /// Whether the state of a later join has still to come.
    is_joining: bool,
    /// How many diffs took at least one user away.
    pub(crate) departures: usize,
    /// Users who lost a place and kept another one, in a diff that has none of their places as new: until it came they were
    /// listed in two.
    pub(crate) apart: Vec<String>,
}

impl People {
    /// The list as it is from now on. Gives who was on the one before and is not on this one.
    pub(crate) fn state(&mut self, state: &Value) -> Vec<String> {
        self.is_joining = false;
        let before = self.references.replace(references(state));
        for diff in std::mem::take(&mut self.early) {
            self.diff(&diff);
        }
        let before = before.into_iter().flatten().map(|(user, _)| user);
        before.filter(|user| !self.has(user)).collect()
    }

    /// Gives who is gone after it.
    pub(crate) fn diff(&mut self, diff: &Value) -> Vec<String> {
        let people = match &mut self.references {
            Some(people) if !self.is_joining => people,
            _ => {
                self.early.push(diff.clone());
                return Vec::new();
            }
        };
        for (user, joined) in references(&diff["joins"]) {
            people.entry(user).or_default().extend(joined);
        }
        for (user, left) in references(&diff["leaves"]) {
            if let Some(held) = people.get_mut(&user) {
                let before = held.len();
                held.retain(|reference| !left.contains(reference));
                let lost = held.len() < before && !held.is_empty();
                if lost && diff["joins"].get(user.as_str()).is_none() {
                    self.apart.push(user);
                }
            }
        }
        let mut gone = Vec::new();
        people.retain(|user, held| {
            if held.is_empty() {
                gone.push(user.clone());
            }
            !held.is_empty()
        });
        self.departures += usize::from(!gone.is_empty());
        gone
    }

    /// From now on diffs wait for the next state, as after a join on another connection.
    pub(crate) fn rejoin(&mut self) {
        self.early.clear();
        self.is_joining = true;
    }

    /// Whether it waits for the state of a later join: until that comes it is the list of before.
    pub(crate) fn is_joining(&self) -> bool {
        self.is_joining
    }

    /// Whether this user is there.
    pub(crate) fn has(&self, user: &str) -> bool {
        let people = self.references.as_ref();
        people.is_some_and(|people| people.contains_key(user))
    }

    /// How many users there are; `None` before the first state.
    pub(crate) fn len(&self) -> Option<usize> {
        Some(self.references.as_ref()?.len())
    }

    /// User -> how many places; `None` before the first state.
    pub(crate) fn places(&self) -> Option<Places> {
        Some(count(self.references.as_ref()?))
    }
}

/// User -> in how many places they are.
pub(crate) type Places = BTreeMap<String, usize>;

/// The same, from what a node answers over HTTP.
pub(crate) fn places(list: &Value) -> Places {
    count(&references(list))
}

fn count(people: &BTreeMap<String, BTreeSet<String>>) -> Places {
    people
        .iter()
        .map(|(user, held)| (user.clone(), held.len()))
        .collect()
}

/// User -> the references of their places.
pub(crate) fn references(list: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let users = list.as_object().into_iter().flatten();
    users
        .map(|(user, entry)| (user.clone(), metas(entry)))
        .collect()
}

fn metas(entry: &Value) -> BTreeSet<String> {
    let metas = entry["metas"].as_array().into_iter().flatten();
    metas
        .filter_map(|meta| Some(meta["phx_ref"].as_str()?.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn list(entries: &[(&str, &[&str])]) -> Value {
        let metas = |held: &[&str]| {
            held.iter()
                .map(|r| json!({"phx_ref": r}))
                .collect::<Vec<_>>()
        };
        let users = entries
            .iter()
            .map(|(user, held)| ((*user).to_owned(), json!({"metas": metas(held)})));
        Value::Object(users.collect())
    }

    #[test]
    fn diffs_before_the_state_wait_for_it() {
        let mut people = People::default();
        people.diff(&json!({"joins": list(&[("ben", &["b"])]), "leaves": {}}));
        assert_eq!(people.places(), None);
        people.state(&list(&[("anna", &["a"])]));
        assert_eq!(
            people.places(),
            Some(places(&list(&[("anna", &["a"]), ("ben", &["b"])])))
        );
    }

    #[test]
    fn a_user_goes_with_the_last_place() {
        let mut people = People::default();
        people.state(&list(&[("anna", &["a1", "a2"])]));
        let gone = people.diff(&json!({"joins": {}, "leaves": list(&[("anna", &["a1"])])}));
        assert!(gone.is_empty());
        assert_eq!(
            people.places(),
            Some(Places::from([("anna".to_owned(), 1)]))
        );
        let gone = people
            .diff(&json!({"joins": {}, "leaves": list(&[("anna", &["a2"]), ("nobody", &["x"])])}));
        assert_eq!(gone, ["anna"]);
        assert_eq!(people.places(), Some(Places::new()));
        assert_eq!(people.departures, 1);
    }

    #[test]
    fn two_places_at_once_are_noticed_and_a_change_of_places_is_none() {
        let (old, new) = (list(&[("anna", &["a1"])]), list(&[("anna", &["a2"])]));
        let none = json!({});
        let mut people = People::default();
        people.state(&old);
        people.diff(&json!({"joins": new, "leaves": old}));
        assert!(people.apart.is_empty());
        let mut people = People::default();
        people.state(&old);
        people.diff(&json!({"joins": new, "leaves": none}));
        people.diff(&json!({"joins": none, "leaves": old}));
        assert_eq!(people.apart, ["anna"]);
    }

    /// What is said before the state is looked at when it counts: who had left before that was in one place, and is in none.
    #[test]
    fn who_leaves_while_a_list_is_awaited_was_not_in_two_places() {
        let (anna, ben) = (list(&[("anna", &["a"])]), list(&[("ben", &["b"])]));
        let mut people = People::default();
        people.state(&list(&[("anna", &["a"]), ("ben", &["b"])]));
        people.rejoin();
        people.diff(&json!({"joins": {}, "leaves": anna}));
        people.state(&ben);
        assert!(people.apart.is_empty() && !people.has("anna"));
    }

    #[test]
    fn who_is_missing_after_a_rejoin_is_gone() {
        let mut people = People::default();
        people.state(&list(&[
            ("anna", &["a1"]),
            ("ben", &["b"]),
            ("carl", &["c"]),
        ]));
        people.rejoin();
        let early =
            json!({"joins": list(&[("anna", &["a2"])]), "leaves": list(&[("carl", &["c"])])});
        assert!(people.diff(&early).is_empty());
        assert_eq!(people.state(&list(&[("carl", &["c"])])), ["ben", "carl"]);
        assert!(people.has("anna") && !people.has("ben"));
    }
}
