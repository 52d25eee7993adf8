// A WebSocket without any client library: frames as they are on the wire.

import { once } from "node:events";
import { request } from "node:http";
import WebSocket from "ws";
import { Inbox, within } from "./wait.mjs";

/** Opens `/socket/websocket` of `node` with this query. */
export async function open(node, query) {
  const socket = new WebSocket(`${node.socket}/websocket?${query}`);
  const raw = new Raw(node, socket);
  await within(once(socket, "open"), `raw connection to ${node.name}`);
  return raw;
}

class Raw {
  constructor(node, socket) {
    this.socket = socket;
    this.frames = new Inbox(`raw connection to ${node.name}`);
    this.closed = once(socket, "close").then(([code, reason]) => ({ code, reason: String(reason) }));
    socket.on("message", (data, isBinary) => this.frames.put(isBinary ? data : JSON.parse(data)));
    socket.on("error", () => {}); // the close that follows is what tests look at
  }

  /** Sends JSON of a value, or a string or bytes as they are. */
  send(frame) {
    const asIs = typeof frame === "string" || frame instanceof Uint8Array;
    this.socket.send(asIs ? frame : JSON.stringify(frame));
  }

  next(what = "frame") {
    return this.frames.next(what);
  }

  async ended() {
    return within(this.closed, "close of the raw connection");
  }

  async end() {
    this.socket.close();
    await this.ended();
  }
}

const UPGRADE = {
  Connection: "Upgrade",
  Upgrade: "websocket",
  "Sec-WebSocket-Version": "13",
  "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
};

/** The HTTP status that answers an attempt to connect: 101 when it is let in. */
export function handshake(node, path, headers = {}) {
  const asked = new Promise((resolve, reject) => {
    const attempt = request(node.url + path, { headers: { ...UPGRADE, ...headers } });
    attempt.on("upgrade", (answer, socket) => (socket.destroy(), resolve(answer.statusCode)));
    attempt.on("response", (answer) => (answer.resume(), resolve(answer.statusCode)));
    attempt.on("error", reject);
    attempt.end();
  });
  return within(asked, `answer to ${path}`);
}
