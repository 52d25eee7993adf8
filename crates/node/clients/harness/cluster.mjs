// Nodes that found each other, under one fresh secret.

import { randomBytes } from "node:crypto";
import { startNode } from "./node.mjs";

/** Starts nodes n1, n2, ... and waits until each sees all others. */
export async function startCluster(size, args = []) {
  const cluster = new Cluster(args);
  try {
    await cluster.grow(size);
  } catch (error) {
    await cluster.stop();
    throw error;
  }
  return cluster;
}

class Cluster {
  constructor(args) {
    this.secret = randomBytes(32).toString("hex");
    this.args = args;
    this.nodes = [];
  }

  async grow(size) {
    const first = await this.start("n1");
    this.nodes.push(first);
    const rest = Array.from({ length: size - 1 }, (_, index) => this.start(`n${index + 2}`));
    this.nodes.push(...(await Promise.all(rest)));
    await this.met();
  }

  start(name, addresses = {}) {
    const join = this.nodes.slice(0, 1).map((node) => node.quic);
    return startNode({ name, join, secret: this.secret, args: this.args, ...addresses });
  }

  /** Waits until every node sees all others as up. */
  met() {
    const seen = this.nodes.map((node) =>
      node.sees(this.nodes.filter((other) => other !== node).map((other) => other.name)),
    );
    return Promise.all(seen);
  }

  /** Starts a killed node again under its name, at the same addresses, so that its clients find it. */
  async restart(node) {
    const index = this.nodes.indexOf(node);
    const join = this.nodes.filter((other) => other !== node).map((other) => other.quic);
    const { name, http, quic } = node;
    this.nodes[index] = await startNode({ name, http, quic, join, secret: this.secret, args: this.args });
    await this.met();
    return this.nodes[index];
  }

  async stop() {
    await Promise.all(this.nodes.map((node) => node.stop()));
  }
}
