// A proxy that sends each request to the next node in turn, as a balancer without sticky sessions does.

import { Agent, createServer, request } from "node:http";
import { once } from "node:events";

/** Starts one before these nodes; use it like a node. Requests to upgrade are `passed`, `refused` or `ignored`. */
export async function startBalancer(nodes, upgrades = "passed") {
  const balancer = new Balancer(nodes, upgrades);
  balancer.server.listen(0, "127.0.0.1");
  await once(balancer.server, "listening");
  return balancer;
}

class Balancer {
  constructor(nodes, upgrades) {
    this.name = "the balancer";
    this.nodes = nodes;
    this.turn = 0;
    this.refused = 0;
    this.agent = new Agent({ keepAlive: true });
    this.server = createServer((asked, answer) => this.pass(asked, answer));
    this.upgraded = new Set();
    this.server.on("upgrade", (asked, socket) => {
      this.upgraded.add(socket);
      socket.on("error", () => socket.destroy());
      if (upgrades === "refused") this.refuse(socket);
      if (upgrades === "passed") this.tunnel(asked, socket);
    });
  }

  get socket() {
    return `ws://127.0.0.1:${this.server.address().port}/socket`;
  }

  next() {
    return this.nodes[this.turn++ % this.nodes.length];
  }

  refuse(socket) {
    this.refused++;
    socket.end("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
  }

  tunnel(asked, socket) {
    const passed = request(this.next().url + asked.url, { headers: asked.headers });
    passed.on("upgrade", (answer, node) => {
      const { rawHeaders } = answer;
      const lines = rawHeaders.flatMap((name, at) => (at % 2 ? [] : [`${name}: ${rawHeaders[at + 1]}`]));
      socket.write(["HTTP/1.1 101 Switching Protocols", ...lines, "", ""].join("\r\n"));
      node.on("error", () => node.destroy());
      socket.pipe(node).pipe(socket);
    });
    passed.on("error", () => socket.destroy());
    passed.end();
  }

  pass(asked, answer) {
    const node = this.next();
    const { method, headers } = asked;
    const passed = request(node.url + asked.url, { method, headers, agent: this.agent });
    passed.on("response", (given) => {
      answer.writeHead(given.statusCode, given.headers);
      given.pipe(answer);
    });
    passed.on("error", () => answer.destroy());
    answer.on("close", () => answer.writableEnded || passed.destroy());
    asked.pipe(passed);
  }

  async stop() {
    for (const socket of this.upgraded) socket.destroy();
    this.server.closeAllConnections();
    this.agent.destroy();
    await new Promise((done) => this.server.close(done));
  }
}
