// The official client, unmodified, in five generations and over two carriers: what a test does with a client reads the same for all.

// First: some of them look for a window as they are loaded.
import "./xhr.mjs";
import * as phoenix18 from "phoenix";
import phoenix12 from "phoenix-1.2";
import phoenix13 from "phoenix-1.3";
import * as phoenix16 from "phoenix-1.6";
import * as phoenix17 from "phoenix-1.7";
import { createRequire } from "node:module";
import WebSocket from "ws";
import { within } from "./wait.mjs";

export { connect } from "./client.mjs";

const [new18, old17, old16, old13, old12] = [
  { name: "phoenix 1.8", phoenix: phoenix18, follow: followWithClass(phoenix18.Presence), binary: true },
  { name: "phoenix 1.7", phoenix: phoenix17, follow: followWithClass(phoenix17.Presence), binary: true },
  { name: "phoenix 1.6", phoenix: phoenix16, follow: followWithClass(phoenix16.Presence), binary: true },
  { name: "phoenix 1.3", phoenix: phoenix13, follow: followWithFunctions(phoenix13.Presence), binary: false },
  // The last that speaks version 1.0.0.
  { name: "phoenix 1.2", phoenix: phoenix12, follow: followWithFunctions(phoenix12.Presence), binary: false, firstVersion: true },
];

/**
 * What a generation of the client can do beside the common ground: binary payloads, `upstream` over long polling, and learning
 * the server's close code. One of the `firstVersion` of the wire knows no `join_ref`. A `balanced` one is meant to come to another node with each request.
 */
export const generations = [
  { ...new18, transport: WebSocket, learnsCode: true },
  { ...old17, transport: WebSocket, learnsCode: true },
  { ...old16, transport: WebSocket, learnsCode: true },
  { ...old13, transport: WebSocket, learnsCode: true },
  { ...old12, transport: WebSocket, learnsCode: true },
  { ...new18, name: "phoenix 1.8 over long polling", ...longPolling(phoenix18), upstream: true },
  { ...old17, name: "phoenix 1.7 over long polling", ...longPolling(phoenix17), upstream: true },
  { ...old16, name: "phoenix 1.6 over long polling", ...longPolling(phoenix16) },
  { ...old13, name: "phoenix 1.3 over long polling", ...longPolling(phoenix13) },
  { ...new18, name: "phoenix 1.8 over long polling to any node", ...longPolling(phoenix18), upstream: true, balanced: true },
];

function longPolling({ LongPoll }) {
  return { transport: LongPoll, polls: true, binary: false };
}

/** The version that the lock file gave us, for the suite's own report. */
export const newest = createRequire(import.meta.url)("./../node_modules/phoenix/package.json").version;

/** A list of who is here, kept by the client's own code, with waiting for it to become something. */
class People {
  constructor(user) {
    this.name = `${user}'s list`;
    this.state = {};
    this.changed = new Set();
    this.joins = [];
    this.leaves = [];
  }

  set(state) {
    this.state = state;
    for (const look of this.changed) look();
  }

  get keys() {
    return Object.keys(this.state).sort();
  }

  metas(key) {
    return this.state[key]?.metas ?? [];
  }

  /** Waits until exactly these keys are in the list. */
  async becomes(...keys) {
    const wanted = [...keys].sort().join();
    await this.until(() => this.keys.join() === wanted, `[${wanted}]`);
  }

  until(holds, what, ms) {
    let look;
    const held = new Promise((resolve) => {
      look = () => holds() && resolve();
      this.changed.add(look);
      look();
    });
    return within(held, `${what} in ${this.name}`, ms)
      .catch((error) => {
        throw new Error(`${error.message}; it is ${JSON.stringify(this.state)}`);
      })
      .finally(() => this.changed.delete(look));
  }
}

/** Since 1.4: a `Presence` object follows a channel by itself. */
function followWithClass(Presence) {
  return (channel, user) => {
    const people = new People(user);
    const presence = new Presence(channel);
    presence.onJoin((key) => people.joins.push(key));
    presence.onLeave((key) => people.leaves.push(key));
    presence.onSync(() => people.set(presence.state));
    return people;
  };
}

/** Up to 1.3: the app keeps the state and calls `syncState` and `syncDiff`. */
function followWithFunctions(Presence) {
  return (channel, user) => {
    const people = new People(user);
    const onJoin = (key) => people.joins.push(key);
    const onLeave = (key) => people.leaves.push(key);
    channel.on("presence_state", (state) => people.set(Presence.syncState(people.state, state, onJoin, onLeave)));
    channel.on("presence_diff", (diff) => people.set(Presence.syncDiff(people.state, diff, onJoin, onLeave)));
    return people;
  };
}
