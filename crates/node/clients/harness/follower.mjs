// One who is in a room and follows by the official client's own `Presence` class, with a network that can be slow or lose things.
// Nothing here needs Node.js, so that a page can load it too.

import { connect } from "./client.mjs";
import { sorted } from "./presence-lists.mjs";
import { eventually } from "./wait.mjs";

/** A client of its own in a room, and all that its `Presence` calls. */
export class Follower {
  constructor(generation, node, user) {
    Object.assign(this, { generation, node, user, joins: [], leaves: [], calls: [], held: null, inOrder: false, holdsAll: false, early: [], isAgain: false });
  }

  async connect() {
    // Alone on its channel: the class changes the lists that it is given, so a second object would get what the first one left.
    const generation = { ...this.generation, follow: () => undefined };
    this.client = await connect(generation, this.node, this.user);
    const deliver = this.client.socket.onConnMessage.bind(this.client.socket);
    const receive = (raw) => {
      deliver(raw);
      if (!this.presence) return;
      if (!this.presence.inPendingSyncState()) this.isAgain = false;
      // What comes of an earlier join on the same connection may come before a list.
      if (this.presence.pendingDiffs.length && !this.isAgain) this.early.push(raw.data);
    };
    this.client.socket.onConnMessage = (raw) => {
      if (this.holds(raw)) this.held.push({ data: raw.data, receive: () => receive(raw) });
      else receive(raw);
    };
    return this;
  }

  holds({ data }) {
    if (!this.held) return false;
    if (this.holdsAll) return true;
    return data.includes('"presence_state"') || (this.inOrder && this.held.length > 0 && data.includes('"presence_diff"'));
  }

  follow(room, options) {
    this.talk = this.client.talk(room);
    this.presence = new this.generation.phoenix.Presence(this.talk.channel, options);
    this.presence.onJoin((key, current, joined) => {
      this.calls.push(`join ${key}`);
      this.joins.push({ key, current: copy(current), joined: copy(joined) });
    });
    this.presence.onLeave((key, current, left) => {
      this.calls.push(`leave ${key}`);
      this.leaves.push({ key, current: copy(current), left: copy(left) });
    });
    return this;
  }

  join() {
    return this.talk.join("ok");
  }

  /** Leaves the room, and `back` joins it again on the same connection. */
  leave() {
    const room = this.talk.channel.topic;
    this.talk.channel.leave();
    this.back = () => {
      this.isAgain = true;
      this.follow(room).talk.channel.join();
    };
  }

  /** From now on states wait until `release`, so that diffs come first. None is lost if it is told twice. */
  hold() {
    this.held ??= [];
  }

  /** The same, with the diffs behind them: as a slow network would. */
  holdInOrder() {
    this.inOrder = true;
    this.hold();
  }

  /** The same with whatever comes. */
  holdAll() {
    this.holdsAll = true;
    this.hold();
  }

  release() {
    const held = this.held;
    this.held = null;
    this.holdsAll = false;
    for (const { receive } of held) receive();
  }

  /** What waits never comes, nor does anything behind it on this connection. */
  lose() {
    this.held = null;
    this.holdsAll = false;
    this.client.socket.conn.onmessage = () => {};
    // The class would keep what came of an earlier join for the list that is lost now, and add it to a later one: a limit that the README tells of.
    if (this.isAgain) this.presence.pendingDiffs = [];
  }

  get list() {
    return sorted(this.presence.state);
  }

  becomes(...users) {
    return eventually(() => Object.keys(this.list).sort().join() === [...users].sort().join(), `[${users}] at ${this.user}`);
  }

  forget() {
    this.joins.length = this.leaves.length = this.calls.length = 0;
  }
}

export const copy = (presence) => presence && JSON.parse(JSON.stringify(presence));
