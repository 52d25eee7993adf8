// The official client against three nodes: every event of the `lab:` topics.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { startBalancer } from "./harness/balancer.mjs";
import { startCluster } from "./harness/cluster.mjs";
import { connect, generations } from "./harness/phoenix.mjs";

let cluster;
let balancer;
let topicNumber = 0;
const clients = [];

before(async () => {
  cluster = await startCluster(3);
  balancer = await startBalancer(cluster.nodes);
});
after(() => Promise.all([balancer?.stop(), cluster?.stop()]));
afterEach(() => Promise.all(clients.splice(0).map((client) => client.end())));

for (const generation of generations) {
  describe(generation.name, () => {
    const freshTopic = () => `lab:${++topicNumber}`;

    async function client(user, node = 0) {
      const connected = await connect(generation, generation.balanced ? balancer : cluster.nodes[node], user);
      clients.push(connected);
      return connected;
    }

    async function joined(user, node, topic = freshTopic()) {
      return (await client(user, node)).join(topic);
    }

    /** anna on n1, ben on n2, carl on n3, all in one topic. */
    async function three() {
      const topic = freshTopic();
      return Promise.all(["anna", "ben", "carl"].map((user, node) => joined(user, node, topic)));
    }

    test("join: ok with topic and params", async () => {
      const anna = await client("anna");
      const talk = await anna.join("lab:params", { a: 1, b: { c: [true, null] } });
      assert.deepEqual(talk.joinReply, { topic: "lab:params", params: { a: 1, b: { c: [true, null] } } });
    });

    // As the guide's chapter on authentication has it, and of that name a long-poll session has a parameter of its own.
    test("connects with a parameter `token`", async () => {
      const node = generation.balanced ? balancer : cluster.nodes[0];
      const params = { token: "eyJhbGciOi.eyJzdWIi.c2ln", user: "anna" };
      const anna = await connect(generation, node, "anna", { params });
      clients.push(anna);
      const talk = await anna.join(freshTopic());
      assert.deepEqual(await talk.push("echo", { n: 1 }), { status: "ok", response: { n: 1 } });
    });

    test("join denied: error with the reason, and the socket lives", async () => {
      const anna = await client("anna");
      const denied = anna.talk(freshTopic(), { deny: "not today" });
      assert.deepEqual(await denied.join("error"), { reason: "not today" });
      denied.channel.leave();
      await anna.join(freshTopic());
    });

    test("join crash: error 'join crashed', and the socket lives", async () => {
      const anna = await client("anna");
      const crashed = anna.talk(freshTopic(), { crash: true });
      assert.deepEqual(await crashed.join("error"), { reason: "join crashed" });
      crashed.channel.leave();
      await anna.join(freshTopic());
    });

    test("unknown topic: error 'unmatched topic'", async () => {
      const anna = await client("anna");
      const lost = anna.talk("nowhere:1");
      assert.deepEqual(await lost.join("error"), { reason: "unmatched topic" });
      lost.channel.leave();
    });

    test("echo and fail: the payload comes back, ok and error", async () => {
      const anna = await joined("anna");
      const payload = { text: "zażółć \u{1F980}", list: [1, 2.5, null], nested: { deep: true } };
      assert.deepEqual(await anna.push("echo", payload), { status: "ok", response: payload });
      assert.deepEqual(await anna.push("fail", payload), { status: "error", response: payload });
    });

    test("binary echo", { skip: !generation.binary && "this one reads no binary frames" }, async () => {
      const anna = await joined("anna");
      const bytes = Uint8Array.from({ length: 4_096 }, (_, index) => index % 256);
      const { status, response } = await anna.push("echo", bytes.buffer);
      assert.equal(status, "ok");
      assert.deepEqual(new Uint8Array(response), bytes);
    });

    test("binary payloads reach the server", { skip: !(generation.binary || generation.upstream) && "this one sends none" }, async () => {
      const anna = await joined("anna");
      const bytes = Uint8Array.from({ length: 256 }, (_, index) => index);
      assert.deepEqual(await anna.push("count", bytes.buffer), { status: "ok", response: { count: 1 } });
    });

    test("later: the reply comes when it is due, and others overtake it", async () => {
      const anna = await joined("anna");
      const order = [];
      const late = anna.push("later", { ms: 150, tag: 7 }).then((reply) => (order.push("late"), reply));
      const soon = anna.push("echo", {}).then(() => order.push("soon"));
      await soon;
      assert.deepEqual(await late, { status: "ok", response: { ms: 150, tag: 7 } });
      assert.deepEqual(order, ["soon", "late"]);
    });

    test("quiet: no reply, while the next event gets one", async () => {
      const anna = await joined("anna");
      let replied = false;
      anna.send("quiet").receive("ok", () => (replied = true)).receive("error", () => (replied = true));
      assert.equal((await anna.push("count")).status, "ok");
      assert.equal(replied, false);
    });

    test("shout: everyone on three nodes, the sender too, once and in order", async () => {
      const all = await three();
      for (let n = 1; n <= 5; n++) all[0].send("shout", { n });
      for (const talk of all) {
        for (let n = 1; n <= 5; n++) assert.deepEqual(await talk.got("shout"), { n });
        talk.hasNot("shout");
      }
    });

    test("whisper: everyone but the sender", async () => {
      const [anna, ben, carl] = await three();
      anna.send("whisper", { to: "others" });
      anna.send("shout", { to: "all" });
      for (const talk of [ben, carl]) {
        assert.deepEqual(await talk.got("shout"), { to: "others" });
        assert.deepEqual(await talk.got("shout"), { to: "all" });
      }
      assert.deepEqual(await anna.got("shout"), { to: "all" });
      anna.hasNot("shout");
    });

    test("push_me: to this client only", async () => {
      const [anna, ben] = await three();
      anna.send("push_me", { mine: 1 });
      assert.deepEqual(await anna.got("pushed"), { mine: 1 });
      anna.send("shout", {});
      await ben.got("shout");
      ben.hasNot("pushed");
    });

    test("count: from 1, in this channel's own state", async () => {
      const [anna, ben] = await three();
      for (const n of [1, 2, 3]) assert.deepEqual((await anna.push("count")).response, { count: n });
      assert.deepEqual((await ben.push("count")).response, { count: 1 });
    });

    test("tell_secret: intercepted, each sees its own name in it", async () => {
      const all = await three();
      all[1].send("tell_secret", { code: 42 });
      for (const talk of all) {
        assert.deepEqual(await talk.got("secret"), { code: 42, seen_by: talk.client.user });
      }
    });

    for (const event of ["crash", "no_such_event"]) {
      test(`${event}: phx_error, the client rejoins, its other channel and socket live`, async () => {
        const anna = await client("anna");
        const other = await anna.join(freshTopic());
        const crashing = await anna.join(freshTopic());
        assert.deepEqual((await other.push("count")).response, { count: 1 });
        assert.deepEqual((await crashing.push("count")).response, { count: 1 });

        crashing.send(event);
        await crashing.got("phx_error");
        // Pushed while it is errored: the client keeps it and sends it when it has joined again.
        assert.deepEqual((await crashing.push("count")).response, { count: 1 });
        assert.deepEqual((await other.push("count")).response, { count: 2 });
        other.hasNot("phx_error");
        assert.equal(anna.states.items.length, 0, "the socket stayed open");
      });
    }

    test("stop: reply ok, then phx_close, and no rejoin", async () => {
      const anna = await client("anna");
      const stopping = await anna.join(freshTopic());
      const other = await anna.join(freshTopic());
      assert.deepEqual(await stopping.push("stop"), { status: "ok", response: {} });
      await stopping.got("phx_close");
      assert.equal(stopping.channel.state, "closed");
      assert.equal((await other.push("echo")).status, "ok");
      await anna.join(stopping.channel.topic);
    });

    // Without a join_ref it takes the close of the old channel for that of the new one, from any server.
    test("leave and join again back to back: a fresh channel", { skip: generation.firstVersion && "it cannot tell joins apart" }, async () => {
      const anna = await client("anna");
      const topic = freshTopic();
      const first = await anna.join(topic);
      assert.deepEqual((await first.push("count")).response, { count: 1 });
      first.channel.leave();
      const second = await anna.join(topic);
      assert.deepEqual((await second.push("count")).response, { count: 1 });
    });

    test("many topics on one socket", async () => {
      const anna = await client("anna");
      const talks = await Promise.all(Array.from({ length: 20 }, () => anna.join(freshTopic())));
      const replies = await Promise.all(talks.map((talk, n) => talk.push("echo", { n })));
      replies.forEach((reply, n) => assert.deepEqual(reply.response, { n }));
    });

    test("150 messages in one go: all taken, in order, each answered", async () => {
      const anna = await joined("anna");
      const replies = await Promise.all(Array.from({ length: 150 }, () => anna.push("count")));
      replies.forEach(({ response }, n) => assert.deepEqual(response, { count: n + 1 }));
    });

    test("heartbeats are answered, and tell the client that the connection lives", { skip: generation.polls && "polling is its heartbeat" }, async () => {
      const anna = await connect(generation, cluster.nodes[0], "anna", { heartbeatIntervalMs: 50 });
      clients.push(anna);
      for (let n = 0; n < 3; n++) {
        const answered = (frame) => frame.topic === "phoenix" && frame.event === "phx_reply";
        const answer = await anna.frames.take(answered, "answer to a heartbeat");
        assert.deepEqual(answer.payload, { status: "ok", response: {} });
      }
      assert.equal(anna.states.items.length, 0, "the socket stayed open");
    });

    test("HTTP broadcast reaches the channels of every node", async () => {
      const all = await three();
      const topic = all[0].channel.topic;
      const answer = await cluster.nodes[2].post(`/api/broadcast/${topic}/news`, JSON.stringify({ from: "n3" }));
      assert.equal(answer.status, 204);
      for (const talk of all) assert.deepEqual(await talk.got("news"), { from: "n3" });
    });

    test("HTTP disconnect closes the user's sockets on every node, and the clients come back", async () => {
      const topic = freshTopic();
      const [here, there, other] = [await client("dora", 0), await client("dora", 2), await client("emil", 1)];
      const talks = [await here.join(topic), await there.join(topic), await other.join(topic)];
      assert.equal((await cluster.nodes[1].post("/api/disconnect/dora", "")).status, 204);
      for (const gone of [here, there]) {
        assert.notEqual((await gone.closed()).close, 1000, "1000 would tell older clients to stay away");
        await gone.opened("reconnection");
      }
      for (const talk of talks) assert.equal((await talk.push("echo")).status, "ok");
      assert.equal(other.states.items.length, 0, "another user's socket stayed open");
    });
  });
}
