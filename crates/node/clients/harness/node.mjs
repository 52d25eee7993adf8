// One real node process: started on free ports, read by its ready line, ended by its process id.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { eventually, within } from "./wait.mjs";

/** A debug build on a busy machine may take a while to print its ready line. */
const START_MS = 30_000;
/** A drain of a few sockets takes far less; a node that needs longer is killed and the test fails. */
const STOP_MS = 20_000;
const LOG_LINES_KEPT = 2_000;

const READY = /^ready name=(\S+) http=(\S+) quic=(\S+)$/;

/** Starts the node of `MATRYOSHKA_NODE` and waits for its ready line. */
export async function startNode({ name, http = "127.0.0.1:0", quic = "127.0.0.1:0", join = [], secret, args = [] }) {
  const binary = process.env.MATRYOSHKA_NODE;
  if (!binary) throw new Error("MATRYOSHKA_NODE is not set: the path of the node's binary");
  const flags = ["--name", name, "--http", http, "--exit-with-stdin", ...args];
  if (quic) flags.push("--quic", quic);
  for (const address of join) flags.push("--join", address);
  const child = spawn(binary, flags, { stdio: ["pipe", "pipe", "pipe"], env: environment(secret) });
  const node = new Node(name, child);
  try {
    await node.ready();
  } catch (error) {
    node.kill();
    throw new Error(`${name}: ${error.message}\n${node.log.join("\n")}`);
  }
  return node;
}

/** Only what is said here reaches a node: flags of the outer environment would change its ports. */
function environment(secret) {
  const kept = Object.entries(process.env).filter(([key]) => !key.startsWith("MATRYOSHKA_"));
  const own = secret ? { MATRYOSHKA_CLUSTER_SECRET: secret } : {};
  return { ...Object.fromEntries(kept), ...own };
}

class Node {
  constructor(name, child) {
    this.name = name;
    this.child = child;
    this.log = [];
    this.exited = once(child, "exit").then(([code, signal]) => ({ code, signal }));
    child.stdin.on("error", () => {}); // a killed node breaks the pipe: that is what was asked for
    createInterface({ input: child.stderr }).on("line", (line) => {
      this.log.push(line);
      if (this.log.length > LOG_LINES_KEPT) this.log.shift();
    });
    this.output = createInterface({ input: child.stdout });
  }

  async ready() {
    const line = once(this.output, "line").then(([text]) => text);
    const died = this.exited.then(({ code, signal }) => {
      throw new Error(`ended before it was ready (${signal ?? `status ${code}`})`);
    });
    died.catch(() => {}); // only the race below may report it
    const text = await within(Promise.race([line, died]), "ready line", START_MS);
    const match = READY.exec(text);
    if (!match) throw new Error(`not a ready line: ${text}`);
    this.http = match[2];
    this.quic = match[3];
  }

  /** SIGKILL: the node can say nothing to anyone. Resolves when the process is gone. */
  async kill() {
    this.child.kill("SIGKILL");
    await within(this.exited, `end of ${this.name}`, STOP_MS);
  }

  /** SIGTERM and a bounded wait; gives the exit status. */
  async stop() {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return this.exited;
    this.child.kill("SIGTERM");
    try {
      return await within(this.exited, `end of ${this.name} after SIGTERM`, STOP_MS);
    } catch (error) {
      this.child.kill("SIGKILL");
      throw error;
    }
  }

  get url() {
    return `http://${this.http}`;
  }

  get socket() {
    return `ws://${this.http}/socket`;
  }

  async json(path) {
    const answer = await fetch(this.url + path);
    if (!answer.ok) throw new Error(`GET ${path} at ${this.name}: ${answer.status}`);
    return answer.json();
  }

  post(path, body, headers = {}) {
    return fetch(this.url + path, { method: "POST", body, headers });
  }

  presence(topic) {
    return this.json(`/api/presence/${topic}`);
  }

  /** Waits until this node holds exactly these other nodes as up. */
  sees(names) {
    const wanted = [...names].sort().join();
    return eventually(async () => {
      const { peers } = await this.json("/api/cluster");
      return peers.filter((peer) => peer.state === "up").map((peer) => peer.name).sort().join() === wanted;
    }, `sight of ${wanted || "nobody"} at ${this.name}`);
  }
}
