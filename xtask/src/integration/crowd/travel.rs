//! Those whose node restarts: told to go, they come back by another node, as real clients do.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::failure::Outcome;
use crate::integration::crowd::Crowd;
use crate::integration::crowd::guest::{Guest, WayBack};
use crate::integration::stage::Stage;

/// The first try of a real client comes so soon after its connection closed.
const BACK_AFTER: Duration = Duration::from_millis(10);
/// And as much later as its machine and its way to the node let it.
const BACK_SPREAD: Duration = Duration::from_millis(40);
/// One in so many knows only its own node, and tries until that is up again.
const OWN_NODE_ONLY: usize = 4;
/// But no longer than this, which is within the grace.
const PATIENCE: Duration = Duration::from_secs(3);

impl Crowd {
    /// Takes what has come. Who was told to go comes back by one of these nodes, which are up, and some only by their own; not so those who are in
    /// `for_good`, who are no guests any more. Gives their names.
    pub(crate) fn follow(
        &mut self,
        stage: &mut Stage,
        up: &[usize],
        for_good: &BTreeSet<String>,
    ) -> Outcome<Vec<String>> {
        self.take()?;
        let is_lost = |guest: &mut Guest| guest.is_away() && for_good.contains(&guest.name);
        let lost = self.guests.extract_if(.., is_lost);
        let lost = lost.map(|guest| guest.name).collect();
        for guest in self.guests.iter_mut().filter(|guest| guest.is_away()) {
            let now = Instant::now();
            let way = *guest.way_back.get_or_insert_with(|| WayBack {
                told: now,
                at: now + BACK_AFTER + stage.dice.duration_below(BACK_SPREAD),
                by_own_node: stage.dice.index(OWN_NODE_ONLY) == 0,
            });
            let waits = way.by_own_node && now < way.told + PATIENCE;
            let node = match (waits, up.contains(&guest.node)) {
                (true, true) => guest.node,
                (true, false) => continue,
                (false, _) => up[stage.dice.index(up.len())],
            };
            if way.at <= now {
                match node == guest.node {
                    true => self.returns += 1,
                    false => self.moves += 1,
                }
                guest.move_to(stage.nodes[node].http, node, &self.room)?;
                guest.way_back = None;
            }
        }
        Ok(lost)
    }

    /// How often somebody came back by another node.
    pub(crate) fn moves(&self) -> u32 {
        self.moves
    }

    /// How often somebody came back by the node that had told it to go, started again.
    pub(crate) fn returns(&self) -> u32 {
        self.returns
    }

    /// Whether everybody is connected and has a list.
    pub(crate) fn is_in(&self) -> bool {
        self.guests
            .iter()
            .all(|guest| guest.has_state && !guest.is_away())
    }

    /// Those of these who are still connected leave on purpose.
    pub(crate) fn leave(&mut self, names: &BTreeSet<String>) -> Outcome {
        let leaving = self.guests.iter_mut();
        let mut leaving = leaving.filter(|guest| names.contains(&guest.name));
        leaving.try_for_each(|guest| guest.leave(&self.room))
    }

    /// Whose leaving has been answered; they are no guests any more.
    pub(crate) fn take_left(&mut self) -> Vec<String> {
        let left = self.guests.extract_if(.., |guest| guest.has_left);
        left.map(|guest| guest.name).collect()
    }

    /// Who went off a reader's list since this was last asked, each with the reader.
    pub(crate) fn take_gone(&mut self) -> Vec<(String, String)> {
        let mut all = Vec::new();
        for guest in &mut self.guests {
            let gone = guest.take_gone();
            all.extend(gone.into_iter().map(|user| (guest.name.clone(), user)));
        }
        all
    }

    /// A reader whose list has this user, if there is one.
    pub(crate) fn holder(&self, user: &str) -> Option<&str> {
        let holder = self.guests.iter().find(|guest| guest.holds(user))?;
        Some(&holder.name)
    }

    /// In some reader's list, an old place of a user went in another diff than the one with the new place. Each with its reader.
    pub(crate) fn apart(&self) -> impl Iterator<Item = (&str, &str)> {
        let guests = self.guests.iter();
        guests.flat_map(|guest| {
            guest
                .apart()
                .iter()
                .map(|user| (guest.name.as_str(), user.as_str()))
        })
    }
}
