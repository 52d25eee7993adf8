// The official client where WebSockets do not get through: it falls back to long polling by itself.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { startBalancer } from "./harness/balancer.mjs";
import { startCluster } from "./harness/cluster.mjs";
import { connect, generations } from "./harness/phoenix.mjs";

const [newest] = generations;
let cluster;
const opened = [];
before(async () => {
  cluster = await startCluster(2);
});
after(() => cluster?.stop());
afterEach(async () => {
  for (const { client, balancer } of opened.splice(0)) {
    await client.end();
    await balancer.stop();
  }
});

/** A client that may fall back, behind a balancer that treats requests to upgrade as said. */
async function behind(upgrades, { memory = new Memory(), threshold = 2_500 } = {}) {
  const balancer = await startBalancer(cluster.nodes, upgrades);
  const options = { longPollFallbackMs: threshold, sessionStorage: memory };
  const client = await connect(newest, balancer, "anna", options);
  opened.push({ client, balancer });
  return { client, memory, balancer };
}

/** A browser tab's storage. */
class Memory extends Map {
  getItem(key) {
    return this.get(key) ?? null;
  }

  setItem(key, value) {
    this.set(key, value);
  }
}

async function works(client) {
  const talk = await client.join(`lab:fallback-${opened.length}`);
  assert.deepEqual(await talk.push("echo", { n: 1 }), { status: "ok", response: { n: 1 } });
}

const carrier = ({ socket }) => socket.transportName(socket.transport);

test("a proxy that refuses upgrades: long polling at once, and remembered", async () => {
  const { client, memory } = await behind("refused");
  assert.equal(carrier(client), "LongPoll");
  await works(client);
  assert.equal(memory.get("phx:fallback:LongPoll"), "true");
});

test("a proxy that never answers an upgrade: long polling after the threshold", async () => {
  const { client } = await behind("ignored", { threshold: 200 });
  assert.equal(carrier(client), "LongPoll");
  await works(client);
});

test("a tab that has fallen back before: long polling without a try", async () => {
  const memory = new Memory([["phx:fallback:LongPoll", "true"]]);
  const { client, balancer } = await behind("refused", { memory });
  assert.equal(carrier(client), "LongPoll");
  assert.equal(balancer.refused, 0);
  await works(client);
});

test("where WebSockets get through nothing falls back", async () => {
  const { client, memory } = await behind("passed");
  await works(client);
  assert.notEqual(carrier(client), "LongPoll");
  assert.equal(memory.size, 0);
});
