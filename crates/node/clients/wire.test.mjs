// Frames as they are on the wire: both versions of the protocol, odd frames, refused connections.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { startNode } from "./harness/node.mjs";
import { handshake, open } from "./harness/raw.mjs";
import { eventually } from "./harness/wait.mjs";

let node;
before(async () => {
  node = await startNode({ name: "wire", quic: null });
});
after(() => node?.stop());

describe("version 1.0.0", () => {
  test("joins, replies, broadcasts and closes as objects without join_ref", async () => {
    const raw = await open(node, "user=old&vsn=1.0.0");
    raw.send({ topic: "lab:v1", event: "phx_join", payload: { a: 1 }, ref: "1" });
    const response = { topic: "lab:v1", params: { a: 1 } };
    assert.deepEqual(await raw.next(), { topic: "lab:v1", event: "phx_reply", payload: { status: "ok", response }, ref: "1" });
    raw.send({ topic: "lab:v1", event: "echo", payload: { b: 2 }, ref: "2" });
    assert.deepEqual(await raw.next(), {
      topic: "lab:v1",
      event: "phx_reply",
      payload: { status: "ok", response: { b: 2 } },
      ref: "2",
    });
    raw.send({ topic: "lab:v1", event: "shout", payload: { c: 3 }, ref: "3" });
    assert.deepEqual(await raw.next(), { topic: "lab:v1", event: "shout", payload: { c: 3 }, ref: null });
    raw.send({ topic: "lab:v1", event: "push_me", payload: {}, ref: "4" });
    assert.deepEqual(await raw.next(), { topic: "lab:v1", event: "pushed", payload: {}, ref: null });
    raw.send({ topic: "phoenix", event: "heartbeat", payload: {}, ref: "5" });
    assert.deepEqual(await raw.next(), {
      topic: "phoenix",
      event: "phx_reply",
      payload: { status: "ok", response: {} },
      ref: "5",
    });
    await raw.end();
  });

  test("a missing vsn means 1.0.0, and both versions share a topic", async () => {
    const [old, young] = [await open(node, "user=old"), await open(node, "user=young&vsn=2.0.0")];
    old.send({ topic: "lab:mixed", event: "phx_join", payload: {}, ref: "1" });
    young.send(["1", "1", "lab:mixed", "phx_join", {}]);
    assert.equal((await old.next()).payload.status, "ok");
    assert.equal((await young.next())[4].status, "ok");
    young.send(["1", "2", "lab:mixed", "shout", { n: 1 }]);
    assert.deepEqual(await old.next(), { topic: "lab:mixed", event: "shout", payload: { n: 1 }, ref: null });
    assert.deepEqual(await young.next(), [null, null, "lab:mixed", "shout", { n: 1 }]);
    await Promise.all([old.end(), young.end()]);
  });
});

describe("version 2.0.0", () => {
  test("heartbeat, join, push and broadcast as arrays", async () => {
    const raw = await open(node, "user=anna&vsn=2.0.0");
    raw.send([null, "1", "phoenix", "heartbeat", {}]);
    assert.deepEqual(await raw.next(), [null, "1", "phoenix", "phx_reply", { status: "ok", response: {} }]);
    raw.send(["2", "2", "lab:v2", "phx_join", {}]);
    const response = { topic: "lab:v2", params: {} };
    assert.deepEqual(await raw.next(), ["2", "2", "lab:v2", "phx_reply", { status: "ok", response }]);
    raw.send(["2", "3", "lab:v2", "push_me", { x: 1 }]);
    assert.deepEqual(await raw.next(), ["2", null, "lab:v2", "pushed", { x: 1 }]);
    raw.send(["2", "4", "lab:v2", "crash", {}]);
    assert.deepEqual(await raw.next(), ["2", "2", "lab:v2", "phx_error", { reason: "channel_crash" }]);
    await raw.end();
  });

  test("binary frames: echo keeps every byte", async () => {
    const raw = await open(node, "user=anna&vsn=2.0.0");
    raw.send(["1", "1", "lab:bytes", "phx_join", {}]);
    await raw.next("join reply");
    raw.send(binaryPush("1", "2", "lab:bytes", "echo", [0, 255, 10]));
    const reply = Buffer.concat([Buffer.from([1, 1, 1, 9, 2]), Buffer.from("12lab:bytesok"), Buffer.from([0, 255, 10])]);
    assert.deepEqual(await raw.next("binary reply"), reply);
    raw.send(binaryPush("1", "3", "lab:bytes", "shout", [7]));
    const broadcast = Buffer.concat([Buffer.from([2, 9, 5]), Buffer.from("lab:bytesshout"), Buffer.from([7])]);
    assert.deepEqual(await raw.next("binary broadcast"), broadcast);
    await raw.end();
  });

  test("a second join of a topic closes the first and wins", async () => {
    const raw = await open(node, "user=anna&vsn=2.0.0");
    raw.send(["1", "1", "lab:twice", "phx_join", {}]);
    await raw.next("first join reply");
    raw.send(["2", "2", "lab:twice", "phx_join", {}]);
    const frames = [await raw.next(), await raw.next()];
    assert.deepEqual(frames.map((frame) => [frame[0], frame[3]]), [["2", "phx_reply"], ["1", "phx_close"]]);
    raw.send(["1", "3", "lab:twice", "count", {}]); // of the closed join: dropped
    raw.send(["2", "4", "lab:twice", "count", {}]);
    assert.deepEqual(await raw.next(), ["2", "4", "lab:twice", "phx_reply", { status: "ok", response: { count: 1 } }]);
    await raw.end();
  });
});

describe("bad frames close this socket with 1011, and no other", () => {
  const bad = {
    "not JSON": "{nonsense",
    "an object": { topic: "lab:a" },
    "an array too short": ["1", "1", "lab:a", "echo"],
    "an empty binary frame": new Uint8Array(),
    "a cut binary frame": Uint8Array.of(0, 9, 9),
  };
  let quiet;
  before(() => (quiet = node.log.length));
  const counted = async () => {
    const metrics = await (await fetch(`${node.url}/metrics`)).text();
    return Number(/^matryoshka_channel_malformed_frames_total (\d+)$/m.exec(metrics)[1]);
  };
  for (const [what, frame] of Object.entries(bad)) {
    test(what, async () => {
      const [good, evil] = [await open(node, "user=good&vsn=2.0.0"), await open(node, "user=evil&vsn=2.0.0")];
      for (const raw of [good, evil]) {
        raw.send(["1", "1", "lab:bad", "phx_join", {}]);
        await raw.next("join reply");
      }
      const before = await counted();
      evil.send(frame);
      assert.equal((await evil.ended()).code, 1011);
      good.send(["1", "2", "lab:bad", "count", {}]);
      assert.deepEqual((await good.next())[4], { status: "ok", response: { count: 1 } });
      await good.end();
      assert.equal(await counted(), before + 1);
    });
  }

  test("the log says so, at most once for each and once a second, and says nothing else", async () => {
    const lines = () => node.log.slice(quiet);
    await eventually(() => lines().length > 0, "log line about a bad frame");
    assert.match(lines()[0], /left_out=0/);
    assert.ok(lines().length <= Object.keys(bad).length, lines().join("\n"));
    for (const line of lines()) assert.match(line, /it sent a frame that is no message/);
  });
});

describe("connections that are refused", () => {
  const socket = "/socket/websocket";
  const cases = [
    ["no user", `${socket}?vsn=2.0.0`, {}, 403],
    ["an empty user", `${socket}?user=&vsn=2.0.0`, {}, 403],
    ["an unknown version", `${socket}?user=anna&vsn=3.0.0`, {}, 403],
    ["a foreign origin", `${socket}?user=anna&vsn=2.0.0`, { Origin: "https://elsewhere.example" }, 403],
    ["no Upgrade header", `${socket}?user=anna&vsn=2.0.0`, { Upgrade: "", Connection: "close" }, 400],
    ["another path", "/socket/other", {}, 404],
  ];
  for (const [what, path, headers, status] of cases) {
    test(`${what}: ${status}`, async () => assert.equal(await handshake(node, path, headers), status));
  }

  test("a loopback origin is let in: 101", async () => {
    const headers = { Origin: "http://localhost:1234" };
    assert.equal(await handshake(node, `${socket}?user=anna&vsn=2.0.0`, headers), 101);
  });
});

/** A client's binary push: kind 0, four sizes, four strings, the payload. */
function binaryPush(joinRef, ref, topic, event, payload) {
  const strings = [joinRef, ref, topic, event].map((text) => Buffer.from(text));
  return Buffer.concat([Buffer.from([0, ...strings.map((text) => text.length)]), ...strings, Buffer.from(payload)]);
}
