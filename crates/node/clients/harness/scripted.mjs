// The official client on a wire that is a script, and in its time: it does what the script says and hears what comes, and nothing of
// it waits.

/** Runs `play` with a clock that only `pass(ms)` moves. */
export function inItsTime(play) {
  const real = Object.fromEntries(["setTimeout", "clearTimeout", "setInterval", "clearInterval"].map((name) => [name, globalThis[name]]));
  const timers = new Map();
  let [now, last] = [0, 0];
  const start = (run, ms = 0, again = false) => {
    timers.set(++last, { at: now + ms, run, every: again ? Math.max(ms, 1) : 0 });
    return last;
  };
  const stop = (number) => timers.delete(number);
  const next = () => [...timers].reduce((first, one) => (first && first[1].at <= one[1].at ? first : one), undefined);
  const pass = (ms) => {
    const end = now + ms;
    for (let due = next(); due && due[1].at <= end; due = next()) {
      const [number, timer] = due;
      now = Math.max(now, timer.at);
      if (timer.every) timer.at = now + timer.every;
      else timers.delete(number);
      timer.run();
    }
    now = end;
  };
  Object.assign(globalThis, {
    setTimeout: (run, ms) => start(run, ms),
    setInterval: (run, ms) => start(run, ms, true),
    clearTimeout: stop,
    clearInterval: stop,
  });
  try {
    return play(pass);
  } finally {
    Object.assign(globalThis, real);
  }
}

/** After so many ms the client connects, and joins, again: no script is as long as any other wait of its own. */
const AGAIN_MS = 10;
const NEVER_MS = 1e9;

/** A client of this generation that does what a script says. */
export class Scripted {
  constructor(phoenix, pass) {
    const wires = (this.wires = []);
    class Wire {
      constructor() {
        this.readyState = 0;
        this.bufferedAmount = 0;
        wires.push(this);
      }
      send(text) {
        this.said(JSON.parse(text));
      }
      close() {
        this.readyState = 3;
      }
    }
    Object.assign(this, { phoenix, pass, places: new Map(), joins: {}, isLost: false });
    this.socket = new phoenix.Socket("ws://a.script/socket", {
      transport: Wire,
      timeout: NEVER_MS,
      heartbeatIntervalMs: NEVER_MS,
      reconnectAfterMs: () => AGAIN_MS,
      rejoinAfterMs: () => AGAIN_MS,
    });
  }

  get wire() {
    return this.wires.at(-1);
  }

  connect() {
    if (this.wire) this.pass(AGAIN_MS);
    else this.socket.connect();
    const { wire } = this;
    wire.said = ([, ref, topic, event]) => event === "phx_join" && (this.joins[topic] ??= []).push(ref);
    wire.readyState = 1;
    wire.onopen();
  }

  lose() {
    this.wire.readyState = 3;
    this.wire.onclose({ code: 1006, reason: "", wasClean: false });
    // The class would add it to a list of the next connection: a limit that the README tells of.
    for (const { presence } of this.places.values()) presence.pendingDiffs = [];
  }

  rejoin() {
    this.pass(AGAIN_MS);
  }

  join(topic) {
    const channel = this.socket.channel(topic, {});
    const place = { channel, presence: new this.phoenix.Presence(channel), count: this.places.get(topic)?.count };
    channel.on("presence_count", (count) => (place.count = count));
    this.places.set(topic, place);
    channel.join();
  }

  /** Clients of 1.6 forget other channels by that, if neither is in a join: `isLost` then, since no script knows of it. */
  leave(topic) {
    const { channel } = this.places.get(topic);
    const others = this.socket.channels.filter((other) => other !== channel);
    channel.leave();
    this.isLost ||= others.some((other) => !this.socket.channels.includes(other));
  }

  giveUp(topic) {
    this.places.get(topic).channel.joinPush.trigger("timeout", {});
  }

  frame(topic, join, event, payload) {
    const ref = join === null ? null : this.joins[topic][join - 1];
    const data = JSON.stringify([ref, event === "phx_reply" ? ref : null, topic, event, payload]);
    this.wire.onmessage({ data });
  }
}
