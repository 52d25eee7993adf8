// The official client behind one small face: connect, join, push, read what arrives. Which client it is and over which carrier it
// talks is its generation's; nothing here needs Node.js, so that a page can load it too.

import { Inbox, within } from "./wait.mjs";

/** A client of `node` as `user`, connected. Rejoins after 100 ms, so that no test waits seconds for it. */
export async function connect(generation, node, user, options = {}) {
  const client = new Client(generation, node, user, options);
  client.socket.connect();
  await client.opened(`first connection of ${user}`);
  return client;
}

class Client {
  constructor(generation, node, user, options) {
    this.generation = generation;
    this.user = user;
    this.unanswered = [];
    this.frames = new Inbox(`${user}'s socket`);
    this.states = new Inbox(`${user}'s socket`);
    this.socket = new generation.phoenix.Socket(node.socket, {
      transport: generation.transport,
      params: { user },
      reconnectAfterMs: () => 100,
      rejoinAfterMs: () => 100,
      ...options,
    });
    this.socket.onOpen(() => this.states.put({ open: true }));
    this.socket.onClose((event) => this.states.put({ close: event?.code, reason: event?.reason }));
    this.socket.onMessage((frame) => this.frames.put(frame));
  }

  opened(what = "open socket") {
    return this.states.take((state) => state.open, what);
  }

  /** The next close of the connection: `{ close: code, reason }`. */
  closed() {
    return this.states.take((state) => "close" in state, "close of the connection");
  }

  /** Joins and waits for `ok`. */
  async join(topic, params = {}) {
    const talk = this.talk(topic, params);
    talk.joinReply = await talk.join("ok");
    return talk;
  }

  /** A channel that is not yet joined. */
  talk(topic, params = {}) {
    return new Talk(this, this.socket.channel(topic, params));
  }

  /**
   * Cuts the connection. Then it ends what would keep the test's process alive: tries to join again, the waits of pushes
   * that get no reply, and in 1.3 a heartbeat that nothing else stops.
   */
  async end() {
    await within(new Promise((done) => this.socket.disconnect(done)), `disconnect of ${this.user}`);
    for (const channel of [...this.socket.channels]) channel.leave();
    for (const push of this.unanswered) push.cancelTimeout();
    clearInterval(this.socket.heartbeatTimer);
  }
}

/** One channel of a client and all that arrives on it. */
class Talk {
  constructor(client, channel) {
    this.client = client;
    this.channel = channel;
    this.events = new Inbox(`${client.user} in ${channel.topic}`);
    channel.onMessage = (event, payload) => {
      if (event !== "phx_reply" && !event.startsWith("chan_reply_")) this.events.put({ event, payload });
      return payload;
    };
    this.people = client.generation.follow(channel, client.user);
  }

  /** Joins and waits for the reply of this status; gives the reply's response. */
  join(status) {
    return replyOf(this.channel.join(), status, `join of ${this.channel.topic}`);
  }

  /** Pushes and waits for the reply, whatever its status. */
  push(event, payload = {}) {
    return replyOf(this.channel.push(event, payload), "any", `reply to ${event}`);
  }

  /** Pushes an event that gets no reply. */
  send(event, payload = {}) {
    const push = this.channel.push(event, payload);
    this.client.unanswered.push(push);
    return push;
  }

  /** The payload of the next `event` on this channel. */
  async got(event) {
    return (await this.events.take((item) => item.event === event, event)).payload;
  }

  /** Fails if `event` arrived and was not taken. Call it after something that must have come later. */
  hasNot(event) {
    const found = this.events.items.filter((item) => item.event === event);
    if (found.length) throw new Error(`${this.events.name} got ${JSON.stringify(found)}`);
  }
}

function replyOf(push, status, what) {
  const answered = new Promise((resolve, reject) => {
    for (const kind of ["ok", "error", "timeout"]) {
      push.receive(kind, (response) => {
        if (status === "any") resolve({ status: kind, response });
        else if (kind === status) resolve(response);
        else reject(new Error(`${what}: ${kind} ${JSON.stringify(response)}`));
      });
    }
  });
  return within(answered, what);
}
