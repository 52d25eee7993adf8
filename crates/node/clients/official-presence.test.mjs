// The official client's own `Presence` class, unmodified: what it calls and holds while people come, go and change (J1 to J13), and
// that it ends with the server's list after any history. A history is chosen by a seed, which is printed; PRESENCE_SEED=N plays the
// same one again.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { startCluster } from "./harness/cluster.mjs";
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
    Object.assign(this, { generation, node, user, joins: [], leaves: [], held: null });
  }

  async connect() {
    this.client = await connect(this.generation, this.node, this.user);
    clients.push(this.client);
    const receive = this.client.socket.onConnMessage.bind(this.client.socket);
    this.client.socket.onConnMessage = (raw) => (this.held && raw.data.includes('"presence_state"') ? this.held.push(() => receive(raw)) : receive(raw));
    return this;
  }

  follow(room) {
    this.talk = this.client.talk(room);
    this.presence = new this.generation.phoenix.Presence(this.talk.channel);
    this.presence.onJoin((key, current, joined) => this.joins.push({ key, current: copy(current), joined: copy(joined) }));
    this.presence.onLeave((key, current, left) => this.leaves.push({ key, current: copy(current), left: copy(left) }));
    return this;
  }

  join() {
    return this.talk.join("ok");
  }

  /** From now on states wait until `release`, so that diffs come first. */
  hold() {
    this.held = [];
  }

  release() {
    const held = this.held;
    this.held = null;
    for (const receive of held) receive();
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

/** Plays one history; gives those who are still there. */
async function play(generation, room, dice) {
  const users = generation.name.includes("1.8") ? USERS : OLDER_USERS;
  let here = [await enter(generation, room, "anna")];
  const actions = {
    enter: async () => {
      if (here.length < 8) here.push(await enter(generation, room, dice.one(users), dice.below(3)));
    },
    status: (one) => one.talk.push("status", { status: `status ${dice.below(100)}` }),
    twoStatuses: (one) => Promise.all([one.talk.push("status", { status: "a" }), one.talk.push("status", { status: "b" })]),
    leaveTopic: async (one) => {
      here = here.filter((other) => other !== one);
      one.talk.channel.leave();
    },
    loseConnection: async (one) => {
      here = here.filter((other) => other !== one);
      await one.client.end();
    },
    comeBack: async (one) => {
      one.client.socket.conn.close(4000);
      await one.client.opened("connection again");
    },
    hold: async (one) => one.hold(),
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
  return here;
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
      assert.deepEqual(anna.joins.find(({ key }) => key === "carl").current, undefined);
      assert.deepEqual(anna.leaves.find(({ key }) => key === "ben").current.metas, []);
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
      await ben.client.end();
      await anna.becomes("anna");
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
        await (again ? ben : carl).client.end();
        await eventually(() => anna.presence.pendingDiffs.some(({ leaves }) => (again ? "ben" : "carl") in leaves), "a leave that waits");
        assert.equal(JSON.stringify(anna.list), before, "nothing has changed yet");
        anna.release();
        await anna.becomes(...(again ? ["anna"] : ["anna", "ben"]));
        assert.deepEqual(anna.presence.pendingDiffs, []);
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
        const followers = await play(generation, room, dice(seed + number));
        await allAgree(room, followers, `agreement after history ${number} of PRESENCE_SEED=${seed}`);
      });
    }
  });
}
