// The official client's own `Presence` class, unmodified: what it calls and holds while people come, go and change (J1 to J13), and
// that it ends with the server's list after a history over real wires. A history is chosen by a seed, which is printed; PRESENCE_SEED=N plays
// the same one again. Thousands that need no wires are official-presence-histories.test.mjs's.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { startCluster } from "./harness/cluster.mjs";
import { copy, Follower } from "./harness/follower.mjs";
import { startNode } from "./harness/node.mjs";
import { generations } from "./harness/phoenix.mjs";
import { dice, LEAST, PEOPLE, play, USERS, usersOf } from "./harness/presence-history.mjs";
import { allAgree as listsAgree, sorted } from "./harness/presence-lists.mjs";
import { eventually } from "./harness/wait.mjs";

/** Whose clients have the class. */
const withClass = generations.filter((generation) => generation.binary && !generation.balanced && !generation.polls);
/** The same over long polling. */
const polling = generations.filter(({ phoenix, polls, balanced }) => polls && !balanced && phoenix.Presence.prototype?.onSync);
const seed = Number(process.env.PRESENCE_SEED ?? Math.floor(Math.random() * 2 ** 31));
const HISTORIES = 2;

/** What the node of J12 calls its lists and what changes in them. */
const EVENTS = { state: "people", diff: "moves" };

/** Rooms whose clients hold the first two keys, and such where a lost client stays listed for a second. */
const TREATED = { "room:window-": "window:2", "room:grace-": "full/1" };

let cluster;
let roomNumber = 0;
const clients = [];

before(async () => {
  cluster = await startCluster(3, Object.entries(TREATED).flatMap(([start, how]) => ["--presence-topics", `${start}*=${how}`]));
});
after(() => cluster?.stop());
afterEach(() => Promise.all(clients.splice(0).map((client) => client.end())));

const freshRoom = () => `room:presence-${++roomNumber}`;

const numbers = (presence) => presence.metas.map((meta) => meta.phx_ref);

/** A client of its own, which the end of the test ends. */
async function follow(generation, node, user, room, options) {
  const follower = await new Follower(generation, node, user).connect();
  clients.push(follower.client);
  return follower.follow(room, options);
}

async function enter(generation, room, user, node = 0) {
  const follower = await follow(generation, cluster.nodes[node], user, room);
  await follower.join();
  return follower;
}

function allAgree(room, followers, what, people) {
  return listsAgree(cluster.nodes, room, () => followers.map(({ list }) => JSON.stringify(list)), what, people);
}

/** A history that tried something: gives who is still there. No diff came before its join's list at anybody. */
async function playAt(generation, room, seed) {
  const { here, everybody, happened } = await play(
    (user, node) => enter(generation, room, user, node),
    usersOf(generation),
    dice(seed),
  );
  for (const [name, least] of Object.entries(LEAST)) {
    assert.ok(happened[name] >= least, `${name} ${happened[name]} times, PRESENCE_SEED=${seed}`);
  }
  assert.ok(new Set(here.map(({ user }) => user)).size >= PEOPLE, `too few people in the end, PRESENCE_SEED=${seed}`);
  for (const { user, early } of everybody) assert.deepEqual(early, [], `before a list at ${user}, PRESENCE_SEED=${seed}`);
  return { here };
}

for (const generation of [...withClass, ...polling]) {
  describe(`${generation.name}: who leaves and joins again on one connection`, () => {
    for (const isFirst of [true, false]) {
      test("holds nobody who has left meanwhile " + (isFirst ? "before it is back" : "after it is back"), async () => {
        const room = freshRoom();
        const [anna, carl] = [await enter(generation, room, "anna"), await enter(generation, room, "carl", 1)];
        await anna.becomes("anna", "carl");
        // What she is sent from here on comes behind her new join.
        anna.holdAll();
        const ben = await enter(generation, room, "ben");
        await carl.talk.push("status", { status: "away" });
        await carl.talk.push("status", { status: "back" });
        await eventually(() => anna.held.some(({ data }) => data.includes('"back"')), "both changes on their way to anna");
        anna.leave();
        const listed = async () => Object.keys(await cluster.nodes[0].presence(room)).sort().join();
        const goes = async () => {
          ben.leave();
          await carl.talk.push("status", { status: "away again" });
          await eventually(async () => !(await listed()).includes("ben"), "ben gone");
        };
        if (isFirst) {
          await eventually(async () => !(await listed()).includes("anna"), "anna gone");
          await goes();
          await carl.becomes("carl");
        }
        anna.back();
        if (!isFirst) {
          await eventually(async () => (await listed()).includes("anna"), "anna back");
          await goes();
        }
        anna.release();
        await allAgree(room, [anna, carl], "the same list", ["anna", "carl"]);
      });
    }
  });
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
      // The server's list, as a state and as the joins of a diff: what is put in stays as it was.
      const { Presence } = generation.phoenix;
      const list = await cluster.nodes[0].presence(room);
      const [nobody, given] = [{}, copy(list)];
      assert.deepEqual(copy(Presence.syncState(nobody, given)), list);
      assert.deepEqual([nobody, given], [{}, list]);
      assert.deepEqual(copy(Presence.syncDiff({}, { joins: copy(list), leaves: {} })), list);
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

    test("J5 J6 a second place joins and leaves alone, behind the first", async () => {
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

    test("J5 one diff in which one place more of one comes and the only one of another goes", () => {
      const { Presence } = generation.phoenix;
      const [first, second, other] = [{ phx_ref: "1" }, { phx_ref: "2" }, { phx_ref: "3" }];
      const state = { u1: { metas: [first] }, u2: { metas: [other] } };
      const diff = { joins: { u1: { metas: [second] } }, leaves: { u2: { metas: [other] } } };
      assert.deepEqual(copy(Presence.syncDiff(state, diff)), { u1: { metas: [first, second] } }, "the old one first");
    });

    test("J3 a second place that a state brings joins alone", async () => {
      const room = freshRoom();
      const anna = await enter(generation, room, "anna");
      await enter(generation, room, "ben");
      await anna.becomes("anna", "ben");
      const before = copy(anna.presence.state.ben);
      anna.hold();
      anna.client.socket.conn.close(4000);
      await enter(generation, room, "ben", 1);
      await eventually(async () => (await cluster.nodes[0].presence(room)).ben.metas.length === 2, "two places of ben");
      await anna.client.opened("connection again");
      await eventually(() => anna.held.length > 0, "a state for anna");
      anna.forget();
      anna.release();
      await eventually(() => anna.presence.state.ben.metas.length === 2, "two places of ben at anna");
      const [came, went] = [anna.joins, anna.leaves].map((calls) => calls.filter(({ key }) => key === "ben"));
      assert.deepEqual(went, []);
      assert.deepEqual(came.length, 1);
      assert.deepEqual(came[0].current, before, "the old one");
      const added = numbers(anna.presence.state.ben).filter((number) => !numbers(before).includes(number));
      assert.deepEqual(numbers(came[0].joined), added, "the new one alone");
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
      const anna = await follow(generation, cluster.nodes[0], "anna", room);
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
        const [lastJoin, leave] = [anna.calls.findLastIndex((call) => call.startsWith("join ")), anna.calls.indexOf(`leave ${who}`)];
        // The state again calls for her own place alone, which is another one.
        assert.ok(lastJoin >= 0 && lastJoin < leave, anna.calls.join());
        await anna.becomes(...(again ? ["anna"] : ["anna", "ben"]));
        assert.deepEqual(anna.presence.pendingDiffs, []);
      }
    });

    test("J12 events of other names", async () => {
      const node = await startNode({ name: "renamed", quic: null, args: ["--presence-events", Object.values(EVENTS).join()] });
      try {
        const enter = async (user, options) => {
          const follower = await follow(generation, node, user, "room:renamed", options);
          await follower.join();
          return follower;
        };
        const [anna, deaf] = [await enter("anna", { events: EVENTS }), await enter("deaf")];
        // What comes by `people`, and by `moves`: a join, an update and a leave.
        await anna.becomes("anna", "deaf");
        const ben = await enter("ben", { events: EVENTS });
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

    test(`a history of seed ${seed} in a window ends with the list's first keys at every client, and how many there are`, async () => {
      const room = `room:window-${++roomNumber}`;
      const { here } = await playAt(generation, room, seed);
      const people = here.map(({ user }) => user);
      await listsAgree(cluster.nodes, room, () => [], `the nodes after a window's PRESENCE_SEED=${seed}`, people);
      const list = sorted(await cluster.nodes[0].presence(room));
      const first = JSON.stringify(Object.fromEntries(Object.entries(list).slice(0, 2)));
      const count = JSON.stringify({ count: Object.keys(list).length, metas: Object.values(list).flat().length });
      const counted = ({ talk }) => JSON.stringify(talk.events.items.findLast(({ event }) => event === "presence_count")?.payload);
      const holds = (follower) => JSON.stringify(follower.list) === first && counted(follower) === count;
      await eventually(() => here.every(holds), `${first} and ${count} at all, PRESENCE_SEED=${seed}`);
    });

    test(`a history of seed ${seed} with a grace ends with the server's list at every client`, async () => {
      const room = `room:grace-${++roomNumber}`;
      const { here } = await playAt(generation, room, seed);
      await allAgree(room, here, `agreement after a grace's PRESENCE_SEED=${seed}`, here.map(({ user }) => user));
    });

    test("who loses the connection and is back within the grace is not seen to go", async () => {
      const room = `room:grace-${++roomNumber}`;
      const [anna, ben] = [await enter(generation, room, "anna"), await enter(generation, room, "ben", 1)];
      await anna.becomes("anna", "ben");
      const [before] = numbers(anna.presence.state.ben);
      anna.forget();
      ben.client.socket.conn.close(4000);
      await ben.client.opened("connection again");
      await eventually(() => numbers(anna.presence.state.ben).join() !== before, "ben in a new place");
      assert.deepEqual(numbers(anna.presence.state.ben).length, 1, "and not in the old one");
      assert.ok(anna.leaves.every(({ current }) => current.metas.length > 0), JSON.stringify(anna.leaves));
    });

    test("who comes back by a node that restarts with a grace is not seen to go, nor is another place of theirs", async () => {
      const room = "room:restarted";
      const both = await startCluster(2, ["--restart-grace", "60"]);
      try {
        const [n1, n2] = both.nodes;
        const come = async (user, node) => {
          const follower = await follow(generation, node, user, room);
          await follower.join();
          return follower;
        };
        const anna = await come("anna", n1);
        for (const [user, node] of [["ben", n2], ["carl", n2], ["carl", n1]]) await come(user, node);
        await anna.becomes("anna", "ben", "carl");
        await eventually(() => anna.presence.state.carl.metas.length === 2, "two places of carl");
        const before = copy(anna.presence.state);
        anna.forget();
        await n2.stop();
        assert.deepEqual(anna.list, sorted(before), "all held");
        await both.restart(n2);
        const kept = (user) => numbers(anna.presence.state[user]).filter((number) => numbers(before[user]).includes(number)).length;
        await eventually(() => kept("ben") === 0 && kept("carl") === 1, "those of the node in new places");
        assert.deepEqual([1, 2], [numbers(anna.presence.state.ben).length, numbers(anna.presence.state.carl).length]);
        // Each old place goes with the new one: one fewer than before is nowhere.
        const places = { ben: 1, carl: 2 };
        assert.ok(anna.leaves.every(({ key, current }) => current.metas.length === places[key]), JSON.stringify(anna.leaves));
        await listsAgree(both.nodes, room, () => [JSON.stringify(anna.list)], "all lists", ["anna", "ben", "carl", "carl"]);
      } finally {
        for (const client of clients.splice(0)) await client.end();
        await both.stop();
      }
    });

    for (let number = 0; number < HISTORIES; number++) {
      test(`history ${number} of seed ${seed} ends with the server's list at every client`, async () => {
        const room = freshRoom();
        const { here } = await playAt(generation, room, seed + number);
        const people = here.map(({ user }) => user);
        await allAgree(room, here, `agreement after history ${number} of PRESENCE_SEED=${seed}`, people);
      });
    }
  });
}
