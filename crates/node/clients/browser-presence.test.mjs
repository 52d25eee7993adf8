// The official client's own `Presence` class, unmodified, in headless Chromium: after the random histories that
// official-presence.test.mjs plays in Node.js it ends with the server's list here too. The page of one node has all clients, on
// three nodes. The seed is printed; PRESENCE_SEED=N plays the same histories again.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { assets, launch } from "./harness/browser.mjs";
import { startCluster } from "./harness/cluster.mjs";
import { allAgree } from "./harness/presence-lists.mjs";

const seed = Number(process.env.PRESENCE_SEED ?? Math.floor(Math.random() * 2 ** 31));
/** Of each carrier. */
const HISTORIES = 3;
/** For the whole of a history: more than any wait in it, so that the wait's own message is what one sees. */
const TIMEOUT_MS = 90_000;
const CARRIERS = ["WebSocket", "long polling"];

let cluster;
let browser;
let context;
before(async () => {
  const starting = startCluster(3, ["--assets", assets]);
  browser = await launch();
  cluster = await starting;
});
afterEach(async () => {
  await context?.close();
  context = undefined;
});
after(async () => {
  await browser?.close();
  await cluster?.stop();
});

for (const carrier of CARRIERS) {
  describe(`Presence in Chromium over ${carrier}`, { concurrency: 1 }, () => {
    for (let number = 0; number < HISTORIES; number++) {
      test(`history ${number} of seed ${seed} ends with the server's list at every client`, { timeout: TIMEOUT_MS }, async () => {
        const { page, carriers, errors } = await openPage(cluster.nodes[0]);
        const room = `room:chromium-${CARRIERS.indexOf(carrier)}-${number}`;
        const sockets = cluster.nodes.map(({ socket }) => socket);
        const history = await page.evaluateHandle(playInPage, { sockets, carrier, room, seed: seed + number });
        const held = () => history.evaluate(({ here }) => here.map(({ list }) => JSON.stringify(list)));
        // No node learns at once that nobody asks for a session any more: who polled stays on the list for a while.
        const people = carrier === "WebSocket" ? await history.evaluate(({ here }) => here.map(({ user }) => user)) : undefined;
        await allAgree(cluster.nodes, room, held, `agreement after history ${number} of PRESENCE_SEED=${seed}`, people);
        const early = await history.evaluate(({ everybody }) => everybody.flatMap(({ early }) => early));
        assert.deepEqual(early, [], `before a list, PRESENCE_SEED=${seed}`);
        assert.deepEqual([...carriers], [carrier]);
        assert.deepEqual(errors, []);
      });
    }
  });
}

/** A page of that node which has the modules that play a history. */
async function openPage(node) {
  context = await browser.newContext();
  const page = await context.newPage();
  const errors = [];
  const carriers = new Set();
  page.on("websocket", () => carriers.add("WebSocket"));
  page.on("request", (request) => request.url().includes("/longpoll?") && carriers.add("long polling"));
  page.on("pageerror", (error) => errors.push(String(error)));
  await page.goto(`${node.url}/health/live`);
  const modules = "**/harness/*.mjs";
  await page.route(modules, (route) => {
    const file = new URL(`.${new URL(route.request().url()).pathname}`, import.meta.url);
    return route.fulfill({ path: fileURLToPath(file), contentType: "text/javascript" });
  });
  await page.evaluate(() => Promise.all(["follower", "presence-history"].map((name) => import(`/harness/${name}.mjs`))));
  // While anything is routed, preflights do not get to the node.
  await page.unroute(modules);
  return { page, carriers, errors };
}

/** Runs in the page: a history of that seed; gives those who are still there, and all who were. */
async function playInPage({ sockets, carrier, room, seed }) {
  const phoenix = await import("/assets/phoenix.mjs");
  const { Follower } = await import("/harness/follower.mjs");
  const { dice, play, usersOf } = await import("/harness/presence-history.mjs");
  const polls = carrier === "long polling";
  const generation = { name: "phoenix 1.8", phoenix, transport: polls ? phoenix.LongPoll : WebSocket };
  let entered = 0;
  const enter = async (user, index) => {
    entered += 1;
    // A browser has six requests under way to one host: polls of more clients would leave no room for what they push.
    const socket = polls ? sockets[index].replace("127.0.0.1", `client-${entered}.localhost`) : sockets[index];
    const follower = (await new Follower(generation, { socket }, user).connect()).follow(room);
    await follower.join();
    return follower;
  };
  return play(enter, usersOf(generation), dice(seed));
}
