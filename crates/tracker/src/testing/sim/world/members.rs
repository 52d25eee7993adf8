//! What a node is told of the others: by the shipped table of members, as the shards of a pubsub are.

use super::*;

/// The members of one node's pubsub, whatever becomes of its tracker.
#[derive(Debug, Default)]
pub(super) struct Members {
    table: MemberTable,
    /// When those are forgotten that are down.
    forget_at: BTreeMap<Index, Duration>,
}

impl Members {
    /// Takes in what became of a node, and gives what is news. Who goes for good is forgotten as its link ends; anybody else once it was
    /// down for `patience`, or never if there is none.
    fn handle(
        &mut self,
        event: MemberEvent,
        (of, name): (Index, &NodeName),
        forget_at: Option<Duration>,
    ) -> Vec<MemberEvent> {
        let went = self.table.get(name).map(|member| member.state);
        let mut news = self.table.handle(event);
        let is_down = |event: &MemberEvent| matches!(event, MemberEvent::Down(_));
        if news.iter().any(|event| matches!(event, MemberEvent::Up(_))) {
            self.forget_at.remove(&of);
        } else if news.iter().any(is_down) {
            if went == Some(MemberState::Leaving) {
                news.extend(self.table.handle(MemberEvent::Forgotten(name.clone())));
            } else {
                self.forget_at.extend(forget_at.map(|at| (of, at)));
            }
        }
        news
    }

    pub(super) fn knows(&self, name: &NodeName) -> bool {
        self.table.get(name).is_some()
    }

    /// When the next one is forgotten.
    pub(super) fn next_forgotten(&self) -> Option<Duration> {
        self.forget_at.values().min().copied()
    }
}

impl Running {
    /// Follows the links that this node is told of.
    fn follow(&mut self, from: Index, born: u64, event: &MemberEvent) {
        match event {
            MemberEvent::Up(member) => {
                let view = LinkView {
                    link: member.link,
                    born,
                    #[cfg(test)]
                    incarnation: member.incarnation.0,
                };
                self.links.insert(from, view);
            }
            MemberEvent::Down(_) => drop(self.links.remove(&from)),
            _ => {}
        }
    }
}

impl World {
    /// Something became of another node, as it arrives at this one.
    pub(super) fn told(&mut self, node: Index, from: Index, packet: &Packet) {
        let Some(event) = self.event(from, packet) else {
            return;
        };
        let (name, forget_at) = (self.names[from].clone(), self.forget_at(node, from));
        let Some(running) = &mut self.nodes[node].running else {
            return;
        };
        let news = running.members.handle(event, (from, &name), forget_at);
        for event in news {
            self.tell(|| format!("n{node} is told {event:?}"));
            match event {
                MemberEvent::Restarting(..) => self.report.count("told that a node restarts"),
                MemberEvent::Forgotten(_) => self.report.count("told to forget: it left for good"),
                _ => {}
            }
            self.act(node, |world, running, now| {
                running.follow(from, packet.born, &event);
                let down = matches!(event, MemberEvent::Down(_));
                if down && running.shard.awaits_restart_by_link(&name) {
                    world.report.count("restart told by the link alone");
                }
                running.shard.handle_member(&event, now);
            });
        }
    }

    /// What an adapter makes of it.
    fn event(&self, from: Index, packet: &Packet) -> Option<MemberEvent> {
        let member = self.member(from, packet.link, packet.incarnation);
        Some(match &packet.what {
            What::Up => MemberEvent::Up(member),
            What::Down => MemberEvent::Down(member),
            What::Goodbye(Goodbye::Leaving) => MemberEvent::Leaving(member),
            What::Goodbye(Goodbye::Restarting { grace }) => MemberEvent::Restarting(member, *grace),
            What::Gap => MemberEvent::Gap {
                node: member.node,
                link: packet.link,
                lost: 1,
            },
            What::Message(_) => return None,
        })
    }

    /// When a node is forgotten whose link ends now. Whom all were told to join by is not, however long it is away.
    fn forget_at(&self, node: Index, of: Index) -> Option<Duration> {
        // The adapter's ten minutes, of a permdown period of twenty.
        let patience = self.settings.permdown_period / 2;
        (of != SEED).then(|| self.now + self.nodes[node].rate.takes(patience))
    }

    /// Forgets who was down for too long.
    pub(super) fn forget_the_long_gone(&mut self, node: Index) {
        while let Some(event) = self.next_long_gone(node) {
            self.tell(|| format!("n{node} is told {event:?}"));
            self.report.count("told to forget: down for long");
            self.act(node, |_, running, now| {
                running.shard.handle_member(&event, now)
            });
        }
    }

    fn next_long_gone(&mut self, node: Index) -> Option<MemberEvent> {
        let members = &mut self.nodes[node].running.as_mut()?.members;
        let mut due = members.forget_at.iter().filter(|(_, at)| **at <= self.now);
        let of = *due.next()?.0;
        members.forget_at.remove(&of);
        let forgotten = MemberEvent::Forgotten(self.names[of].clone());
        members.table.handle(forgotten).pop()
    }

    pub(super) fn member(&self, node: Index, link: LinkId, incarnation: u64) -> Member {
        Member::up(self.names[node].clone(), Incarnation(incarnation), link)
    }

    /// Tells the shard of a tracker that has just begun who is there.
    pub(super) fn introduce(&mut self, node: Index) {
        let Some(running) = &self.nodes[node].running else {
            return;
        };
        for event in running.members.table.introduce() {
            self.act(node, |_, running, now| {
                running.shard.handle_member(&event, now)
            });
        }
    }

    /// The queue into the shard overflowed with news of nodes in it. Its pubsub knows what it missed.
    pub(super) fn lose_news(&mut self, node: Index) {
        let missed = self.network.take_all_to(node);
        let own = Incarnation(self.nodes[node].incarnation);
        self.act(node, |world, running, now| {
            for (from, packet) in missed {
                let Some(event) = world.event(from, &packet) else {
                    continue;
                };
                let (name, forget_at) = (&world.names[from], world.forget_at(node, from));
                for event in running.members.handle(event, (from, name), forget_at) {
                    running.follow(from, packet.born, &event);
                }
            }
            let there = running.members.table.introduce();
            running.shard.handle_reset(&there, own, now);
        });
    }

    /// A node's pubsub tells all that it is linked to how it goes. From then on it has no further links.
    pub(super) fn say_goodbye(&mut self, node: Index, goodbye: Goodbye) {
        self.nodes[node].goodbye = Some(goodbye);
        self.network
            .announce(node, goodbye, self.now, &mut self.random);
    }
}

/// The node that all others were told to join by.
const SEED: Index = 0;
