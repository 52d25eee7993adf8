// The node's HTTP paths beside the socket, and what it does with flags it cannot obey.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import { startCluster } from "./harness/cluster.mjs";
import { connect, generations, newest } from "./harness/phoenix.mjs";
import { eventually, within } from "./harness/wait.mjs";

let cluster;
let n1;
before(async () => {
  cluster = await startCluster(2);
  [n1] = cluster.nodes;
});
after(() => cluster?.stop());

test("cluster: own name, and the peers with address and state", async () => {
  const { name, peers } = await n1.json("/api/cluster");
  assert.equal(name, "n1");
  assert.deepEqual(
    peers.map(({ name, addr, state }) => ({ name, addr, state })),
    [{ name: "n2", addr: cluster.nodes[1].quic, state: "up" }],
  );
});

test("presence: the list of a room, empty for a room without anyone", async () => {
  const anna = await connect(generations[0], cluster.nodes[1], "anna");
  await anna.join("room:http");
  const list = await eventually(async () => {
    const answer = await fetch(`${n1.url}/api/presence/room:http`);
    assert.equal(answer.headers.get("content-type"), "application/json; charset=utf-8");
    const entries = await answer.json();
    return "anna" in entries && entries;
  }, "anna in the list of the other node");
  assert.equal(list.anna.metas[0].status, "online");
  assert.deepEqual(await n1.presence("room:nobody"), {});
  await anna.end();
});

describe("broadcast", () => {
  const path = "/api/broadcast/lab:http/news";
  const cases = [
    ["an object", '{"a":1}', {}, 204],
    ["bad JSON", "{nonsense", {}, 400],
    ["JSON that is no object", "[1]", {}, 400],
    ["an empty body", "", {}, 400],
    ["a foreign origin", "{}", { Origin: "https://elsewhere.example" }, 403],
    ["a loopback origin", "{}", { Origin: "http://localhost:4321" }, 204],
  ];
  for (const [what, body, headers, status] of cases) {
    test(`${what}: ${status}`, async () => assert.equal((await n1.post(path, body, headers)).status, status));
  }
});

test("disconnect with a foreign origin: 403", async () => {
  const headers = { Origin: "https://elsewhere.example" };
  assert.equal((await n1.post("/api/disconnect/anna", "", headers)).status, 403);
});

test("health: live and ready", async () => {
  assert.equal((await fetch(`${n1.url}/health/live`)).status, 200);
  assert.equal((await fetch(`${n1.url}/health/ready`)).status, 200);
});

test("metrics: Prometheus text", async () => {
  const text = await (await fetch(`${n1.url}/metrics`)).text();
  assert.match(text, /^# HELP \S+ .+$/m);
  assert.match(text, /^# TYPE \S+ (counter|gauge|histogram)$/m);
  assert.match(text, /^\w+(\{[^}]*\})? \d+/m);
});

test("the page without --assets says which command to run", async () => {
  const text = await (await fetch(`${n1.url}/`)).text();
  assert.match(text, /cargo xtask demo/);
});

describe("flags that cannot be obeyed: one line that names the flag and the cure", () => {
  const short = { MATRYOSHKA_CLUSTER_SECRET: "tooshort" };
  const cases = [
    ["an unknown flag", ["--no-such-flag"], {}, /--no-such-flag/, 2],
    ["a flag that is none", ["--no-such-flag", "on"], {}, /--no-such-flag/, 2],
    ["a bad name", ["--name", "Not Valid"], {}, /--name.*Not Valid/, 2],
    ["a bad address", ["--quic", "nowhere"], {}, /--quic.*nowhere/, 2],
    ["too short a secret", ["--quic", "127.0.0.1:0"], short, /at least 32/, 2],
    ["a cluster without a secret", ["--quic", "127.0.0.1:0"], {}, /matryoshka-node secret/, 1],
  ];
  for (const [what, flags, env, line, status] of cases) {
    test(what, async () => {
      const { code, out, err } = await run(["--http", "127.0.0.1:0", ...flags], env);
      assert.equal(out, "");
      assert.match(err, line);
      assert.equal(err.trim().split("\n").length, 1, `one line:\n${err}`);
      assert.equal(code, status);
    });
  }

  test("a port that is taken: one line that names it", async () => {
    const { code, out, err } = await run(["--http", n1.http], {});
    assert.notEqual(code, 0);
    assert.equal(out, "");
    assert.match(err, new RegExp(n1.http));
    assert.equal(err.trim().split("\n").length, 1, `one line:\n${err}`);
  });
});

test("the suite runs the newest official client that the lock file names", (t) => {
  t.diagnostic(`phoenix ${newest}`);
  assert.match(newest, /^1\.8\./);
});

/** Runs the node until it ends by itself. */
async function run(flags, env) {
  const kept = Object.entries(process.env).filter(([key]) => !key.startsWith("MATRYOSHKA_"));
  const child = spawn(process.env.MATRYOSHKA_NODE, flags, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...Object.fromEntries(kept), ...env },
  });
  let [out, err] = ["", ""];
  child.stdout.on("data", (data) => (out += data));
  child.stderr.on("data", (data) => (err += data));
  try {
    const [code] = await within(once(child, "close"), `end of a node started with ${flags.join(" ")}`);
    return { code, out, err };
  } finally {
    child.kill("SIGKILL");
  }
}
