// The official client against three nodes: the `room:` topics and who is there.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { startCluster } from "./harness/cluster.mjs";
import { connect, generations } from "./harness/phoenix.mjs";
import { eventually } from "./harness/wait.mjs";

let cluster;
let roomNumber = 0;
const clients = [];

before(async () => {
  cluster = await startCluster(3);
});
after(() => cluster?.stop());
afterEach(() => Promise.all(clients.splice(0).map((client) => client.end())));

for (const generation of generations.filter((generation) => !generation.balanced)) {
  describe(generation.name, () => {
    const freshRoom = () => `room:${++roomNumber}`;

    async function enter(room, user, node = 0) {
      const client = await connect(generation, cluster.nodes[node], user);
      clients.push(client);
      return client.join(room);
    }

    /** anna on n1, ben on n2, carl on n3, each of whom sees all. */
    async function three(room) {
      const all = await Promise.all(["anna", "ben", "carl"].map((user, node) => enter(room, user, node)));
      await Promise.all(all.map((talk) => talk.people.becomes("anna", "ben", "carl")));
      return all;
    }

    /** Lets a client go, in a way that the server learns of at once. */
    function gone(talk) {
      return generation.polls ? talk.channel.leave() : talk.client.end();
    }

    /** Waits until every node answers exactly these users for this room. */
    function listed(room, ...users) {
      return Promise.all(
        cluster.nodes.map((node) =>
          eventually(
            async () => Object.keys(await node.presence(room)).sort().join() === [...users].sort().join(),
            `[${users}] in ${room} at ${node.name}`,
          ),
        ),
      );
    }

    test("join: ok with the user, then presence_state as a push of this join", async () => {
      const room = freshRoom();
      const before = Math.floor(Date.now() / 1000);
      const anna = await enter(room, "anna");
      assert.deepEqual(anna.joinReply, { user: "anna" });
      const state = await anna.got("presence_state");
      const [meta] = state.anna.metas;
      assert.equal(state.anna.metas.length, 1);
      assert.equal(meta.status, "online");
      assert.ok(Number.isInteger(meta.online_at) && meta.online_at >= before && meta.online_at <= before + 60);
      assert.equal(typeof meta.phx_ref, "string");
      const frame = await anna.client.frames.take((item) => item.event === "presence_state", "presence_state");
      if (generation.firstVersion) assert.equal(frame.join_ref, undefined);
      else assert.equal(frame.join_ref, anna.channel.joinRef(), "a state without its join_ref would never be taken");
    });

    test("new_msg: to all with the author, reply ok; empty or missing body is an error", async () => {
      const all = await three(freshRoom());
      assert.deepEqual(await all[1].push("new_msg", { body: "hello" }), { status: "ok", response: {} });
      for (const talk of all) assert.deepEqual(await talk.got("new_msg"), { user: "ben", body: "hello" });
      for (const payload of [{ body: "" }, {}]) {
        assert.deepEqual(await all[1].push("new_msg", payload), { status: "error", response: { reason: "empty" } });
      }
      all[0].hasNot("new_msg");
    });

    test("typing: all but the one who types", async () => {
      const [anna, ben, carl] = await three(freshRoom());
      anna.send("typing");
      assert.deepEqual(await ben.got("typing"), { user: "anna" });
      assert.deepEqual(await carl.got("typing"), { user: "anna" });
      await anna.push("new_msg", { body: "done" });
      await anna.got("new_msg");
      anna.hasNot("typing");
    });

    test("presence: all nodes agree, in the clients' lists and over HTTP", async () => {
      const room = freshRoom();
      const [anna, , carl] = await three(room);
      await listed(room, "anna", "ben", "carl");
      const lists = await Promise.all(cluster.nodes.map((node) => node.presence(room)));
      assert.deepEqual(lists[1], lists[0]);
      assert.deepEqual(lists[2], lists[0]);
      assert.deepEqual(carl.people.metas("anna").map((meta) => meta.phx_ref), lists[0].anna.metas.map((meta) => meta.phx_ref));

      anna.channel.leave();
      await carl.people.becomes("ben", "carl");
      assert.deepEqual(carl.people.leaves, ["anna"]);
      await listed(room, "ben", "carl");
    });

    // Nobody tells the server that a client polls no more: it waits 15 s, so one client over that carrier has to do.
    const skip = generation.polls && !generation.upstream && "as the newer client over long polling";
    test("a closed connection leaves the lists of all nodes", { skip }, async () => {
      const room = freshRoom();
      const [anna, ben, carl] = await three(room);
      await ben.client.end();
      await Promise.all([anna, carl].map((talk) => talk.people.becomes("anna", "carl")));
      await listed(room, "anna", "carl");
    });

    test("one user in two places: one key with two metas, gone with the last", async () => {
      const room = freshRoom();
      const anna = await enter(room, "anna", 0);
      const phone = await enter(room, "dora", 1);
      const laptop = await enter(room, "dora", 2);
      await anna.people.until(() => anna.people.metas("dora").length === 2, "two metas of dora");
      await gone(phone);
      await anna.people.until(() => anna.people.metas("dora").length === 1, "one meta of dora");
      assert.deepEqual(anna.people.keys, ["anna", "dora"]);
      await gone(laptop);
      await anna.people.becomes("anna");
    });

    test("status: a new meta in place of the old one, everywhere", async () => {
      const room = freshRoom();
      const [anna, ben] = await three(room);
      const [old] = ben.people.metas("anna");
      assert.deepEqual(await anna.push("status", { status: "away" }), { status: "ok", response: {} });
      await ben.people.until(() => ben.people.metas("anna")[0]?.status === "away", "anna away");
      const metas = ben.people.metas("anna");
      assert.equal(metas.length, 1);
      assert.notEqual(metas[0].phx_ref, old.phx_ref);
      assert.equal(metas[0].phx_ref_prev, old.phx_ref);
      assert.equal(metas[0].online_at, old.online_at);
      assert.deepEqual(ben.people.keys, ["anna", "ben", "carl"]);
    });

    test("crash: the user leaves the lists and is back after the rejoin, once", async () => {
      const room = freshRoom();
      const [anna, ben] = await three(room);
      const [old] = anna.people.metas("ben");
      ben.send("no_such_event");
      await ben.got("phx_error");
      const isNew = (meta) => meta.phx_ref !== old.phx_ref;
      await anna.people.until(() => anna.people.metas("ben").length === 1 && anna.people.metas("ben").every(isNew), "ben back");
      await ben.people.until(() => ben.people.metas("ben").some(isNew), "ben's own new meta");
      await listed(room, "anna", "ben", "carl");
      const lists = await Promise.all(cluster.nodes.map((node) => node.presence(room)));
      for (const list of lists) assert.equal(list.ben.metas.length, 1);
    });
  });
}
