// A WebSocket client that sends bytes exactly as it is told, right or wrong, and shows what came back.

import { once } from "node:events";
import { connect } from "node:net";
import { Inbox, within } from "./wait.mjs";

export const CONTINUATION = 0;
export const TEXT = 1;
export const BINARY = 2;
export const CLOSE = 8;
export const PING = 9;
export const PONG = 10;

/** RSV1, RSV2 and RSV3, where a frame's first byte has them. */
export const RESERVED_BITS = [0x40, 0x20, 0x10];

/** A client's frame. `reserved` bits, no mask, or a `length` that is not the payload's make it a wrong one. */
export function frame(opcode, payload = "", { isLast = true, reserved = 0, isMasked = true, length } = {}) {
  const bytes = Buffer.from(payload);
  const head = [(isLast ? 0x80 : 0) | reserved | opcode];
  const mask = isMasked ? 0x80 : 0;
  const stated = BigInt(length ?? bytes.length);
  if (stated < 126n) head.push(mask | Number(stated));
  else {
    head.push(mask | 127);
    for (let shift = 56n; shift >= 0n; shift -= 8n) head.push(Number((stated >> shift) & 0xffn));
  }
  // Zeros are a mask too, and leave the payload readable.
  if (isMasked) head.push(0, 0, 0, 0);
  return Buffer.concat([Buffer.from(head), bytes]);
}

/** Connects to the node and says nothing yet. */
export async function dial(node) {
  const [host, port] = node.http.split(":");
  const socket = connect(Number(port), host);
  socket.on("error", () => {}); // the end that follows is what tests look at
  await within(once(socket, "connect"), `TCP connection to ${node.name}`);
  return socket;
}

/** The lines of a good handshake, without the empty one that ends it. */
export function handshakeLines(node, query) {
  return [
    `GET /socket/websocket?${query} HTTP/1.1`,
    `Host: ${node.http}`,
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  ];
}

/** Opens a WebSocket of which every further byte is the test's. */
export async function openBytes(node, query) {
  const socket = await dial(node);
  const client = new ByteClient(node, socket);
  socket.write(`${handshakeLines(node, query).join("\r\n")}\r\n\r\n`);
  await within(client.upgraded, `upgrade at ${node.name}`);
  return client;
}

class ByteClient {
  #unread = Buffer.alloc(0);
  #isUpgraded = false;

  constructor(node, socket) {
    this.socket = socket;
    this.frames = new Inbox(`byte client of ${node.name}`);
    this.upgraded = new Promise((resolve, reject) => {
      this.onUpgrade = resolve;
      socket.on("close", () => reject(new Error("closed before the upgrade")));
    });
    this.upgraded.catch(() => {}); // whoever waits for it is told
    this.closed = new Promise((resolve) => {
      this.onClose = resolve;
      socket.on("close", () => resolve(1006));
    });
    socket.on("data", (bytes) => this.#read(bytes));
  }

  send(...frames) {
    this.socket.write(Buffer.concat(frames));
  }

  sendText(text) {
    this.send(frame(TEXT, text));
  }

  /** The next frame that is no close: `{ opcode, payload }`. */
  next(what = "frame") {
    return this.frames.next(what);
  }

  /** The JSON of the next frame. */
  async nextJson() {
    return JSON.parse((await this.next()).payload);
  }

  /** The code that the server closes with; 1006 if it just hangs up. Then this end goes too. */
  async code() {
    const code = await within(this.closed, "close of the byte client");
    this.socket.destroy();
    return code;
  }

  end() {
    this.socket.destroy();
  }

  #read(bytes) {
    this.#unread = Buffer.concat([this.#unread, bytes]);
    if (!this.#isUpgraded) this.#readHead();
    while (this.#isUpgraded && this.#readFrame());
  }

  #readHead() {
    const end = this.#unread.indexOf("\r\n\r\n");
    if (end < 0) return;
    const head = this.#unread.subarray(0, end).toString();
    if (!head.startsWith("HTTP/1.1 101 ")) throw new Error(`no upgrade: ${head}`);
    this.#unread = this.#unread.subarray(end + 4);
    this.#isUpgraded = true;
    this.onUpgrade();
  }

  #readFrame() {
    const bytes = this.#unread;
    if (bytes.length < 2) return false;
    let [length, from] = [bytes[1], 2];
    if (length === 126) [length, from] = [bytes.length < 4 ? Infinity : bytes.readUInt16BE(2), 4];
    else if (length === 127) [length, from] = [bytes.length < 10 ? Infinity : Number(bytes.readBigUInt64BE(2)), 10];
    if (bytes.length < from + length) return false;
    const payload = bytes.subarray(from, from + length);
    this.#unread = bytes.subarray(from + length);
    const opcode = bytes[0] & 0x0f;
    if (opcode === CLOSE) this.onClose(length < 2 ? 1005 : payload.readUInt16BE(0));
    else this.frames.put({ opcode, payload });
    return true;
  }
}
