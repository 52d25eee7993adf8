// The official client's own `Presence` class, unmodified: what it calls and holds while people come, go and change (J1 to J13), and
// that it ends with the server's list after any history. A history is chosen by a seed, which is printed; PRESENCE_SEED=N plays the
// same one again.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { startCluster } from "./harness/cluster.mjs";
import { startNode } from "./harness/node.mjs";
import { connect, generations } from "./harness/phoenix.mjs";
import { eventually } from "./harness/wait.mjs";

/** Whose clients have the class. */
const withClass = generations.filter((generation) => generation.binary && !generation.balanced && !generation.polls);
const seed = Number(process.env.PRESENCE_SEED ?? Math.floor(Math.random() * 2 ** 31));
const HISTORIES = 6;
const STEPS = 60;
/** Some of them are names that every JavaScript object knows. */
const USERS = ["anna", "ben", "carl", "__proto__", "constructor", "hasOwnProperty"];
/** Clients before 1.8.9 take those for people who are there already. */
const OLDER_USERS = USERS.slice(0, 3);

/** What the node of J12 calls its lists and what changes in them. */
const EVENTS = { state: "people", diff: "moves" };

let cluster;
let roomNumber = 0;
const clients = [];

before(async () => {
  cluster = await startCluster(3);
});
after(() => cluster?.stop());
afterEach(() => Promise.all(clients.splice(0).map((client) => client.end())));

const freshRoom = () => `room:presence-${++roomNumber}`;

/** A client of its own in a room, and all that its `Presence` calls. */
class Follower {
  constructor(generation, node, user) {
    Object.assign(this, { generation, node, user, joins: [], leaves: [], held: null, inOrder: false, early: [], lost: null });
  }

  async connect() {
    // Alone on its channel: the class changes the lists that it is given, so a second object would get what the first one left.
    const generation = { ...this.generation, follow: () => undefined };
    this.client = await connect(generation, this.node, this.user);
    clients.push(this.client);
    const deliver = this.client.socket.onConnMessage.bind(this.client.socket);
    const receive = (raw) => {
      deliver(raw);
      if (this.presence?.pendingDiffs.length) this.early.push(raw.data);
    };
    this.client.socket.onConnMessage = (raw) => {
      if (raw.target === this.lost) return;
      if (this.holds(raw)) this.held.push(() => receive(raw));
      else receive(raw);
    };
    return this;
  }

  holds({ data }) {
    if (!this.held) return false;
    return data.includes('"presence_state"') || (this.inOrder && this.held.length > 0 && data.includes('"presence_diff"'));
  }

  follow(room, options) {
    this.talk = this.client.talk(room);
    this.presence = new this.generation.phoenix.Presence(this.talk.channel, options);
    this.presence.onJoin((key, current, joined) => this.joins.push({ key, current: copy(current), joined: copy(joined) }));
    this.presence.onLeave((key, current, left) => this.leaves.push({ key, current: copy(current), left: copy(left) }));
    return this;
  }

  join() {
    return this.talk.join("ok");
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

  release() {
    const held = this.held;
    this.held = null;
    for (const receive of held) receive();
  }

  /** What waits never comes, nor does anything behind it on this connection. */
  lose() {
    this.held = null;
    this.lost = this.client.socket.conn;
  }

  get list() {
    return sorted(this.presence.state);
  }

  becomes(...users) {
    return eventually(() => Object.keys(this.list).sort().join() === [...users].sort().join(), `[${users}] at ${this.user}`);
  }

  forget() {
    this.joins.length = this.leaves.length = 0;
  }
}

const copy = (presence) => presence && JSON.parse(JSON.stringify(presence));
const numbers = (presence) => presence.metas.map((meta) => meta.phx_ref);

/** A list whose order within a key, which means nothing, is always the same. */
function sorted(list) {
  const entries = Object.entries(list).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, { metas }]) => [key, [...metas].sort((a, b) => (a.phx_ref < b.phx_ref ? -1 : 1))]));
}

async function enter(generation, room, user, node = 0) {
  const follower = (await new Follower(generation, cluster.nodes[node], user).connect()).follow(room);
  await follower.join();
  return follower;
}

/** Waits until each of them holds what each node lists, field by field. */
async function allAgree(room, followers, what) {
  let seen;
  const agree = async () => {
    const lists = await Promise.all(cluster.nodes.map(async (node) => sorted(await node.presence(room))));
    seen = { lists, held: followers.map((follower) => follower.list) };
    const first = JSON.stringify(lists[0]);
    return [...lists, ...seen.held].every((list) => JSON.stringify(list) === first);
  };
  await eventually(agree, what).catch((error) => {
    throw new Error(`${error.message}: ${JSON.stringify(seen)}`);
  });
}

/** Numbers that a seed decides. */
function dice(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  return { below: (n) => next() % n, one: (list) => list[next() % list.length] };
}

/** Plays one history; gives those who are still there, and all who were. */
async function play(generation, room, dice) {
  const users = generation.name.includes("1.8") ? USERS : OLDER_USERS;
  let here = [await enter(generation, room, "anna")];
  const everybody = [...here];
  const actions = {
    enter: async () => {
      if (here.length >= 8) return;
      const follower = await enter(generation, room, dice.one(users), dice.below(3));
      here.push(follower);
      everybody.push(follower);
    },
    status: (one) => one.talk.push("status", { status: `status ${dice.below(100)}` }),
    twoStatuses: (one) => Promise.all([one.talk.push("status", { status: "a" }), one.talk.push("status", { status: "b" })]),
    leaveTopic: async (one) => {
      here = here.filter((other) => other !== one);
      one.talk.channel.leave();
    },
    loseConnection: async (one) => {
      here = here.filter((other) => other !== one);
      // A join that it gives up by that may still be answered, and the class would put off that join's diffs.
      one.lose();
      await one.client.end();
    },
    comeBack: async (one) => {
      // What is on its way is lost with the connection, a list above all. A diff that waited for it would be kept by the class,
      // and be added to the next join's list: so none may come before it.
      one.lose();
      one.client.socket.conn.close(4000);
      await one.client.opened("connection again");
    },
    hold: async (one) => one.holdInOrder(),
    release: async (one) => one.held && one.release(),
  };
  for (let step = 0; step < STEPS; step++) {
    const name = here.length ? dice.one(Object.keys(actions)) : "enter";
    const done = actions[name](here.length ? dice.one(here) : undefined);
    // Most actions are under way while the next one begins.
    if (name === "comeBack" || name === "enter" || dice.below(3) === 0) await done.catch(() => {});
    else done.catch(() => {});
  }
  for (const one of here) if (one.held) one.release();
  return { here, everybody };
}

for (const generation of withClass) {
  describe(generation.name, () => {
    test("J1 J4 J8 from nothing to the list, all of it or by a function", async () => {
      const room = freshRoom();
      await enter(generation, room, "anna");
      const ben = await enter(generation, room, "ben", 1);
      await ben.becomes("anna", "ben");
      await allAgree(room, [ben], "one list");
      assert.deepEqual(ben.presence.list().length, 2);
      assert.deepEqual(ben.presence.list((key, { metas: [first] }) => `${key} ${first.status}`).sort(), ["anna online", "ben online"]);
    });

    test("J2 a state after other people calls join for who is new and leave for who has gone", async () => {
      const room = freshRoom();
      const [anna, ben] = [await enter(generation, room, "anna"), await enter(generation, room, "ben")];
      await anna.becomes("anna", "ben");
      // While anna is away ben goes and carl comes.
      anna.hold();
      anna.client.socket.conn.close(4000);
      await anna.client.opened("connection again");
      await ben.client.end();
      const carl = await enter(generation, room, "carl");
      await eventually(() => anna.held.length > 0, "a state for anna");
      await carl.becomes("anna", "carl");
      anna.forget();
      anna.release();
      await anna.becomes("anna", "carl");
      // Her own place is another than before, so she is among both.
      const [came, went] = [anna.joins, anna.leaves].map((calls) => calls.filter(({ key }) => key !== "anna"));
      assert.deepEqual(came.map(({ key, current }) => [key, current]), [["carl", undefined]]);
      assert.deepEqual(went.map(({ key, current }) => [key, current.metas]), [["ben", []]]);
      await allAgree(room, [anna, carl], "the new list");
    });

    test("J3 J5 J6 a second place joins and leaves alone, behind the first", async () => {
      const room = freshRoom();
      const anna = await enter(generation, room, "anna");
      await enter(generation, room, "ben");
      await anna.becomes("anna", "ben");
      const before = copy(anna.presence.state.ben);
      anna.forget();
      const second = await enter(generation, room, "ben", 1);
      await eventually(() => anna.presence.state.ben.metas.length === 2, "two places of ben");
      assert.deepEqual([anna.joins.length, anna.leaves.length], [1, 0]);
      assert.deepEqual(anna.joins[0].current, before, "what was there before");
      assert.equal(anna.joins[0].joined.metas.length, 1, "the new one alone");
      assert.deepEqual(numbers(anna.presence.state.ben)[0], numbers(before)[0], "the old one first");
      await second.client.end();
      await eventually(() => anna.presence.state.ben.metas.length === 1, "one place of ben");
      assert.deepEqual(anna.presence.state.ben, before);
      assert.deepEqual(anna.leaves.map(({ key, current }) => [key, current.metas.length]), [["ben", 1]]);
    });

    const dangerous = USERS.slice(3);
    test("J7 names that every object knows are names like others", { skip: !generation.name.includes("1.8") && "since 1.8.9" }, async () => {
      const room = freshRoom();
      const anna = await enter(generation, room, "anna");
      const others = [];
      for (const user of dangerous) others.push(await enter(generation, room, user));
      await anna.becomes("anna", ...dangerous);
      const late = await enter(generation, room, "late");
      await late.becomes("anna", "late", ...dangerous);
      assert.equal({}.metas, undefined, "the prototype of all objects");
      await Promise.all(others.map((other) => other.client.end()));
      await anna.becomes("anna", "late");
    });

    test("J9 a leave after the state", async () => {
      const room = freshRoom();
      const [anna, ben] = [await enter(generation, room, "anna"), await enter(generation, room, "ben")];
      await anna.becomes("anna", "ben");
      const left = copy(anna.presence.state.ben);
      anna.forget();
      await ben.client.end();
      await anna.becomes("anna");
      assert.deepEqual(anna.joins, []);
      assert.deepEqual(anna.leaves, [{ key: "ben", current: { ...left, metas: [] }, left }]);
    });

    test("J10 J11 diffs before the state of this join wait for it", async () => {
      const room = freshRoom();
      const [ben, carl] = [await enter(generation, room, "ben"), await enter(generation, room, "carl")];
      const anna = (await new Follower(generation, cluster.nodes[0], "anna").connect()).follow(room);
      for (const again of [false, true]) {
        anna.hold();
        if (again) {
          anna.client.socket.conn.close(4000);
          await anna.client.opened("connection again");
        } else await anna.join();
        await eventually(() => anna.held.length > 0, "a state");
        const before = JSON.stringify(anna.list);
        if (!again) assert.equal(before, "{}", "no list yet");
        anna.forget();
        const [who, leaver] = again ? ["ben", ben] : ["carl", carl];
        await leaver.client.end();
        await eventually(() => anna.presence.pendingDiffs.some(({ leaves }) => who in leaves), "a leave that waits");
        assert.equal(JSON.stringify(anna.list), before, "nothing has changed yet");
        assert.deepEqual(anna.leaves, [], "nor has anything been called");
        anna.release();
        // Joins first, then the leave that waited.
        const gone = anna.leaves.filter(({ key }) => key === who);
        assert.deepEqual(gone.map(({ current }) => current.metas), [[]]);
        await anna.becomes(...(again ? ["anna"] : ["anna", "ben"]));
        assert.deepEqual(anna.presence.pendingDiffs, []);
      }
    });

    test("J12 events of other names", async () => {
      const node = await startNode({ name: "renamed", quic: null, args: ["--presence-events", Object.values(EVENTS).join()] });
      try {
        const follow = async (user, options) => {
          const follower = (await new Follower(generation, node, user).connect()).follow("room:renamed", options);
          await follower.join();
          return follower;
        };
        const [anna, deaf] = [await follow("anna", { events: EVENTS }), await follow("deaf")];
        // What comes by `people`, and by `moves`: a join, an update and a leave.
        await anna.becomes("anna", "deaf");
        const ben = await follow("ben", { events: EVENTS });
        await ben.becomes("anna", "ben", "deaf");
        await anna.becomes("anna", "ben", "deaf");
        await ben.talk.push("status", { status: "away" });
        await eventually(() => anna.presence.state.ben.metas[0].status === "away", "ben away");
        await ben.client.end();
        await anna.becomes("anna", "deaf");
        assert.deepEqual(anna.list, sorted(await node.presence("room:renamed")));
        // Nothing came by the usual names: who listens for those heard of nobody.
        const heard = deaf.talk.events.items.map(({ event }) => event);
        assert.deepEqual([...new Set(heard)].sort(), Object.values(EVENTS).sort());
        assert.deepEqual([deaf.list, deaf.joins, deaf.leaves, deaf.presence.pendingDiffs], [{}, [], [], []]);
      } finally {
        for (const client of clients.splice(0)) await client.end();
        await node.stop();
      }
    });

    test("J13 an update is the new meta in place of the old one", async () => {
      const room = freshRoom();
      const [anna, ben] = [await enter(generation, room, "anna"), await enter(generation, room, "ben")];
      await anna.becomes("anna", "ben");
      const before = copy(anna.presence.state.ben);
      anna.forget();
      await ben.talk.push("status", { status: "away" });
      await eventually(() => anna.presence.state.ben.metas[0].status === "away", "ben away");
      const [{ current, joined }] = anna.joins;
      assert.deepEqual(current, before);
      assert.deepEqual(anna.presence.state.ben.metas, joined.metas);
      assert.equal(joined.metas[0].phx_ref_prev, before.metas[0].phx_ref);
    });

    for (let number = 0; number < HISTORIES; number++) {
      test(`history ${number} of seed ${seed} ends with the server's list at every client`, async () => {
        const room = freshRoom();
        const { here, everybody } = await play(generation, room, dice(seed + number));
        await allAgree(room, here, `agreement after history ${number} of PRESENCE_SEED=${seed}`);
        for (const { user, early } of everybody) assert.deepEqual(early, [], `before a list at ${user}, PRESENCE_SEED=${seed}`);
      });
    }
  });
}
