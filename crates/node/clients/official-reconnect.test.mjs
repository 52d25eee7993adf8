// The official client when its node goes: killed, told to stop, and back again under the same name.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { startCluster } from "./harness/cluster.mjs";
import { connect, generations } from "./harness/phoenix.mjs";
import { eventually } from "./harness/wait.mjs";

/** How long the users of a killed node may stay in the other nodes' lists, in ms. */
const NOTICED_MS = 3_000;

let cluster;
before(async () => {
  cluster = await startCluster(3);
});
after(() => cluster?.stop());

// Behind a balancer a client outlives its node's going, which is what this suite is not about.
for (const [number, generation] of generations.filter((generation) => !generation.balanced).entries()) {
  describe(generation.name, () => {
    const room = `room:reconnect-${number}`;
    const lab = `lab:reconnect-${number}`;

    test("a killed node: its users leave the lists in time, its clients come back with it", async (t) => {
      const users = await Promise.all(["anna", "ben", "carl"].map((user, n) => connect(generation, cluster.nodes[n], user)));
      t.after(() => Promise.all(users.map((user) => user.end())));
      const [anna, ben, carl] = await Promise.all(users.map((user) => user.join(room)));
      const benInLab = await ben.client.join(lab);
      const all = [anna, ben, carl];
      await Promise.all(all.map((talk) => talk.people.becomes("anna", "ben", "carl")));

      const killed = cluster.nodes[1];
      const moment = Date.now();
      await killed.kill();
      const others = [cluster.nodes[0], cluster.nodes[2]];
      const without = async (node) => !("ben" in (await node.presence(room)));
      await Promise.all([
        ...[anna, carl].map((talk) => talk.people.until(() => !talk.people.keys.includes("ben"), "list without ben", NOTICED_MS)),
        ...others.map((node) => eventually(() => without(node), `list without ben at ${node.name}`, NOTICED_MS)),
      ]);
      t.diagnostic(`noticed after ${Date.now() - moment} ms`);
      assert.notEqual((await ben.client.closed()).close, 1000);

      await cluster.restart(killed);
      await ben.client.opened("reconnection");
      await Promise.all(all.map((talk) => talk.people.becomes("anna", "ben", "carl")));
      for (const node of cluster.nodes) {
        const list = await node.presence(room);
        assert.deepEqual(Object.values(list).map((entry) => entry.metas.length), [1, 1, 1], `no ghost at ${node.name}`);
      }
      assert.deepEqual((await ben.push("new_msg", { body: "back" })).status, "ok");
      for (const talk of all) assert.deepEqual(await talk.got("new_msg"), { user: "ben", body: "back" });
      assert.deepEqual((await benInLab.push("count")).response, { count: 1 }, "every channel of the socket rejoined");
    });

    test("a node told to stop: exit status 0, and its clients are not told to stay away", async (t) => {
      const [stays, goes] = [cluster.nodes[0], cluster.nodes[2]];
      const users = [await connect(generation, stays, "anna"), await connect(generation, goes, "carl")];
      t.after(() => Promise.all(users.map((user) => user.end())));
      const [anna, carl] = await Promise.all(users.map((user) => user.join(`${room}-drain`)));
      await anna.people.becomes("anna", "carl");

      const ended = goes.stop();
      const { close } = await carl.client.closed();
      if (generation.learnsCode) assert.equal(close, 1012);
      else assert.notEqual(close, 1000);
      await anna.people.becomes("anna");
      assert.deepEqual(await ended, { code: 0, signal: null });

      await cluster.restart(goes);
      await carl.client.opened("reconnection");
      await anna.people.becomes("anna", "carl");
    });
  });
}
