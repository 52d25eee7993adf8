// What no client library sends. Whatever it is, it costs the one that sent it at most its own connection: beside each there is a
// bystander on the same topic, whose channel goes on counting.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import {
  BINARY,
  CLOSE,
  CONTINUATION,
  PING,
  PONG,
  RESERVED_BITS,
  TEXT,
  dial,
  frame,
  handshakeLines,
  openBytes,
} from "./harness/bytes.mjs";
import { startNode } from "./harness/node.mjs";
import { open } from "./harness/raw.mjs";
import { within } from "./harness/wait.mjs";

const V1 = "user=evil&vsn=1.0.0";
const V2 = "user=evil&vsn=2.0.0";
const MAX_MESSAGE_BYTES = 8_000_000;

let node;
let bystander;
let counted = 0;
before(async () => {
  node = await startNode({ name: "frames", quic: null });
  bystander = await open(node, "user=good&vsn=2.0.0");
  bystander.send(["1", "1", "lab:beside", "phx_join", {}]);
  await bystander.next("join reply");
});
after(async () => {
  await bystander?.end();
  await node?.stop();
});

/** The bystander's channel is the one that it was, and answers. */
async function isUndisturbed() {
  counted += 1;
  bystander.send(["1", `n${counted}`, "lab:beside", "count", {}]);
  const reply = ["1", `n${counted}`, "lab:beside", "phx_reply", { status: "ok", response: { count: counted } }];
  assert.deepEqual(await bystander.next("the bystander's reply"), reply);
}

/** A client of the topic that the bystander is on. */
async function joined(query = V2) {
  const client = await openBytes(node, query);
  const join = { topic: "lab:beside", event: "phx_join", payload: {}, ref: "1" };
  client.sendText(JSON.stringify(query === V1 ? join : ["1", "1", "lab:beside", "phx_join", {}]));
  await client.next("join reply");
  return client;
}

const echo = JSON.stringify(["1", "2", "lab:beside", "echo", { text: "é" }]);
const echoed = ["1", "2", "lab:beside", "phx_reply", { status: "ok", response: { text: "é" } }];

describe("odd, and allowed", () => {
  const heart = Buffer.from(echo);
  const cases = {
    "a message in many fragments, cut within a character": Array.from(heart, (byte, at) =>
      frame(at ? CONTINUATION : TEXT, [byte], { isLast: at === heart.length - 1 }),
    ),
    "a message whose last fragment is empty": [
      frame(TEXT, heart, { isLast: false }),
      frame(CONTINUATION, "", { isLast: true }),
    ],
    "a ping between fragments": [
      frame(TEXT, heart.subarray(0, 9), { isLast: false }),
      frame(PING, ""),
      frame(CONTINUATION, heart.subarray(9)),
    ],
    "pongs that nobody asked for": [frame(PONG, "x"), frame(PONG), frame(TEXT, heart)],
    "a length stated in eight bytes that fits into one": [
      Buffer.concat([Buffer.from([0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, heart.length, 0, 0, 0, 0]), heart]),
    ],
  };
  for (const [what, frames] of Object.entries(cases)) {
    test(what, async () => {
      const client = await joined();
      client.send(...frames);
      let answer = await client.next();
      if (answer.opcode === PONG) answer = await client.next();
      assert.deepEqual(JSON.parse(answer.payload), echoed);
      client.end();
      await isUndisturbed();
    });
  }

  test("one byte at a time", async () => {
    const client = await joined();
    client.socket.setNoDelay(true);
    for (const byte of frame(TEXT, heart)) {
      await within(new Promise((sent) => client.socket.write(Buffer.from([byte]), sent)), "a byte's way out");
    }
    assert.deepEqual(await client.nextJson(), echoed);
    client.end();
    await isUndisturbed();
  });
});

describe("frames that break the protocol close that connection, each with its code", () => {
  const half = Buffer.alloc(MAX_MESSAGE_BYTES / 2 + 1, 0x20);
  const cases = {
    "not masked": [[frame(TEXT, echo, { isMasked: false })], 1002],
    "an unknown kind of data": [[frame(3, "x")], 1002],
    "an unknown kind of control": [[frame(11, "x")], 1002],
    "a continuation of nothing": [[frame(CONTINUATION, "x")], 1002],
    "a new message inside another": [[frame(TEXT, "[", { isLast: false }), frame(TEXT, "]")], 1002],
    "a ping in fragments": [[frame(PING, "x", { isLast: false })], 1002],
    "a ping over 125 bytes": [[frame(PING, "x".repeat(126))], 1002],
    "a close over 125 bytes": [[frame(CLOSE, Buffer.alloc(126))], 1002],
    "a close with half a code": [[frame(CLOSE, [3])], 1002],
    "text that is not UTF-8": [[frame(TEXT, [0x22, 0xff, 0x22])], 1007],
    "text that ends within a character": [[frame(TEXT, [0x22, 0xc3])], 1007],
    "a surrogate half in UTF-8's clothes": [[frame(TEXT, [0x22, 0xed, 0xa0, 0x80, 0x22])], 1007],
    "fragments that are not UTF-8 together": [
      [frame(TEXT, [0x22, 0xc3], { isLast: false }), frame(CONTINUATION, [0x22])],
      1007,
    ],
    "a frame one byte over the limit": [[frame(TEXT, "", { length: MAX_MESSAGE_BYTES + 1 })], 1009],
    "a frame of a terabyte": [[frame(BINARY, "", { length: 1n << 40n })], 1009],
    "fragments over the limit together": [[frame(TEXT, half, { isLast: false }), frame(CONTINUATION, half)], 1009],
  };
  for (const [at, reserved] of RESERVED_BITS.entries()) {
    cases[`reserved bit ${at + 1} on text`] = [[frame(TEXT, echo, { reserved })], 1002];
    cases[`reserved bit ${at + 1} on a ping`] = [[frame(PING, "", { reserved })], 1002];
  }
  for (const [what, [frames, code]] of Object.entries(cases)) {
    test(`${what}: ${code}`, async () => {
      const client = await joined();
      client.send(...frames);
      assert.equal(await client.code(), code);
      await isUndisturbed();
    });
  }

  test("a length beyond all numbers is refused, too big or broken", async () => {
    const client = await joined();
    client.send(frame(BINARY, "", { length: (1n << 64n) - 1n }));
    assert.ok([1002, 1009].includes(await client.code()));
    await isUndisturbed();
  });
});

describe("frames that are no message close that connection with 1011", () => {
  const deep = 500_000;
  const nested = "[".repeat(deep) + "]".repeat(deep);
  const objects = '{"a":'.repeat(deep);
  const text = (value) => [frame(TEXT, value)];
  const cases = {
    [V2]: {
      "empty text": text(""),
      "white space": text(" \n"),
      "no JSON": text("{nonsense"),
      "an object": text('{"topic":"lab:beside","event":"echo","payload":{},"ref":null}'),
      "a string": text('"phx_join"'),
      "a number": text("1e999"),
      "four elements": text('["1","2","lab:beside","echo"]'),
      "two messages in one": text(`${echo}${echo}`),
      "half a surrogate pair": text('["1","2","lab:\\ud800","echo",{}]'),
      "half a surrogate pair in a payload": text('["1","2","lab:beside","shout",{"a":["\\ud83d"]}]'),
      "half a surrogate pair in a key": text('["1","2","lab:beside","shout",{"\\ude00":1}]'),
      "a number beyond all floats": text('["1","2","lab:beside","shout",{"n":-1e999}]'),
      "a join ref of 256 bytes": text(`["${"r".repeat(256)}","2","lab:beside","echo",{}]`),
      "a ref of 256 bytes": text(`["1","${"r".repeat(256)}","lab:beside","echo",{}]`),
      "a ref of a megabyte that is no string": text(`["1",[${"1,".repeat(500_000)}1],"lab:beside","echo",{}]`),
      "an event of 256 bytes": text(`["1","2","lab:beside","${"é".repeat(128)}",{}]`),
      "a zero byte in a string": text('["1","2","lab:\u0000","echo",{}]'),
      "a million brackets as payload": text(`["1","2","lab:beside","echo",${nested}]`),
      "a million brackets as topic": text(`["1","2",${nested},"echo",{}]`),
      "a million brackets and nothing else": text(nested),
      "objects that never end": text(`["1","2","lab:beside","echo",${objects}`),
      "empty bytes": [frame(BINARY, "")],
      "bytes cut off": [frame(BINARY, [0, 1, 1, 10, 4, 0x31])],
      "bytes of a kind of the server's": [frame(BINARY, [1, 0, 0, 0, 0])],
      "bytes of an unknown kind": [frame(BINARY, [255, 0, 0, 0, 0])],
      "a topic in bytes that is not UTF-8": [frame(BINARY, [0, 0, 0, 1, 0, 0xff])],
    },
    [V1]: {
      "empty text": text(""),
      "an array": text('["1","1","lab:beside","echo",{}]'),
      "no topic": text('{"event":"echo","payload":{},"ref":"2"}'),
      "no event": text('{"topic":"lab:beside","payload":{},"ref":"2"}'),
      "no payload": text('{"topic":"lab:beside","event":"echo","ref":"2"}'),
      "no ref": text('{"topic":"lab:beside","event":"echo","payload":{}}'),
      "half a surrogate pair in a payload": text('{"topic":"lab:beside","event":"shout","payload":{"a":"\\ud83d"},"ref":"2"}'),
      "a ref of a megabyte": text(`{"topic":"lab:beside","event":"echo","payload":{},"ref":"${"r".repeat(1_000_000)}"}`),
      "an event of a megabyte": text(`{"topic":"lab:beside","event":"${"e".repeat(1_000_000)}","payload":{},"ref":"2"}`),
      "a million brackets as payload": text(`{"topic":"lab:beside","event":"echo","payload":${nested},"ref":"2"}`),
      "bytes that are no text": [frame(BINARY, [0xff])],
    },
  };
  for (const [query, ofVersion] of Object.entries(cases)) {
    for (const [what, frames] of Object.entries(ofVersion)) {
      test(`${query.slice(-5)}: ${what}`, async () => {
        const client = await joined(query);
        client.send(...frames);
        assert.equal(await client.code(), 1011);
        await isUndisturbed();
      });
    }
  }
});

describe("as long as it may be", () => {
  const ref = "r".repeat(255);

  test("refs and an event of 255 bytes are echoed and refused by the channel alone", async () => {
    const client = await openBytes(node, V2);
    const ask = async (event, payload) => {
      client.sendText(JSON.stringify([ref, ref, "lab:beside", event, payload]));
      return client.nextJson();
    };
    assert.deepEqual((await ask("phx_join", {}))[0], ref);
    assert.deepEqual(await ask("echo", { a: 1 }), [
      ref,
      ref,
      "lab:beside",
      "phx_reply",
      { status: "ok", response: { a: 1 } },
    ]);
    const crashed = await ask("e".repeat(255), {});
    assert.deepEqual(crashed, [ref, ref, "lab:beside", "phx_error", { reason: "channel_crash" }]);
    client.end();
    await isUndisturbed();
  });

  test("a frame of megabytes around a payload of two: white space, and elements that nobody asked for", async () => {
    const client = await joined();
    const filling = `"${"x".repeat(7_000_000)}"`;
    for (const text of [
      `["1","2","lab:beside","echo",${" ".repeat(7_000_000)}{}]`,
      `["1","2","lab:beside","echo",{},${filling}]`,
    ]) {
      client.sendText(text);
      const reply = ["1", "2", "lab:beside", "phx_reply", { status: "ok", response: {} }];
      assert.deepEqual(await client.nextJson(), reply);
    }
    client.end();
    await isUndisturbed();
  });

  test("escapes of whole pairs go to everybody as they came", async () => {
    const client = await joined();
    const text = '{"\\ud83d\\ude00":"\\uD83D\\uDE00\\\\ud83d"}';
    client.sendText(`["1","2","lab:beside","echo",${text}]`);
    assert.ok((await client.next()).payload.toString().includes(text));
    client.end();
    await isUndisturbed();
  });
});

describe("wrong types, slot by slot", () => {
  const values = [null, true, 7, -0.5, "", "x", [], ["a"], {}, { a: 1 }];
  const unmatched = { status: "error", response: { reason: "unmatched topic" } };
  const ok = (response) => ({ status: "ok", response });

  for (const value of values) {
    const shown = JSON.stringify(value);

    test(`2.0.0: ${shown} in each slot`, async () => {
      const client = await joined();
      const ask = async (message, answer) => {
        client.sendText(JSON.stringify(message));
        assert.deepEqual(await client.nextJson(), answer);
      };
      await ask(["1", value, "lab:beside", "echo", {}], ["1", value, "lab:beside", "phx_reply", ok({})]);
      await ask(["1", "3", "lab:beside", "echo", value], ["1", "3", "lab:beside", "phx_reply", ok(value)]);
      await ask(["1", "4", value, "echo", {}], [null, "4", value, "phx_reply", unmatched]);
      await ask([value, "5", "lab:other", "phx_join", {}], [
        value,
        "5",
        "lab:other",
        "phx_reply",
        ok({ topic: "lab:other", params: {} }),
      ]);
      await ask(["1", "6", "lab:nowhere", value, {}], [null, "6", "lab:nowhere", "phx_reply", unmatched]);
      // Of another join, or of this one if it is null: dropped without a word, or answered.
      client.sendText(JSON.stringify([value, "7", "lab:beside", "echo", {}]));
      client.sendText(JSON.stringify(["1", "8", "lab:beside", "echo", {}]));
      const next = await client.nextJson();
      if (value === null) assert.equal((await client.nextJson())[1], "8");
      assert.equal(next[1], value === null ? "7" : "8");
      // No event of this channel: it crashes, and the connection does not.
      client.sendText(JSON.stringify(["1", "9", "lab:beside", value, {}]));
      assert.deepEqual(await client.nextJson(), ["1", "1", "lab:beside", "phx_error", { reason: "channel_crash" }]);
      await ask([null, "10", "phoenix", "heartbeat", value], [null, "10", "phoenix", "phx_reply", ok({})]);
      client.end();
      await isUndisturbed();
    });

    test(`1.0.0: ${shown} under each key`, async () => {
      const client = await joined(V1);
      const ask = async (changed, answer) => {
        const message = { topic: "lab:beside", event: "echo", payload: {}, ref: "2", ...changed };
        client.sendText(JSON.stringify(message));
        const reply = { topic: message.topic, event: "phx_reply", ref: message.ref, payload: answer };
        assert.deepEqual(await client.nextJson(), reply);
      };
      await ask({ ref: value }, ok({}));
      await ask({ payload: value }, ok(value));
      await ask({ topic: value }, unmatched);
      await ask({ topic: "lab:nowhere", event: value }, unmatched);
      await ask({ unknown: value }, ok({}));
      client.sendText(JSON.stringify({ topic: "lab:beside", event: value, payload: {}, ref: "3" }));
      assert.equal((await client.nextJson()).event, "phx_error");
      client.end();
      await isUndisturbed();
    });
  }
});

describe("handshakes that come to nothing", () => {
  test("two hundred connections that say nothing, or half a request, hold up nobody", async () => {
    const half = handshakeLines(node, V2).slice(0, 3).join("\r\n");
    const silent = await Promise.all(Array.from({ length: 200 }, () => dial(node)));
    for (const [at, socket] of silent.entries()) if (at % 2) socket.write(half);
    await isUndisturbed();
    const late = await joined();
    late.sendText(echo);
    assert.deepEqual(await late.nextJson(), echoed);
    late.end();
    for (const socket of silent) socket.destroy();
  });

  test("a client that is gone before its answer", async () => {
    for (let n = 0; n < 50; n += 1) {
      const socket = await dial(node);
      socket.write(`${handshakeLines(node, V2).join("\r\n")}\r\n\r\n`);
      socket.destroy();
    }
    await isUndisturbed();
  });

  const floods = {
    "five hundred headers": Array.from({ length: 500 }, (_, at) => `X-${at}: ${"y".repeat(500)}`),
    "one header of a megabyte": [`X-Long: ${"y".repeat(1_000_000)}`],
    "a header name without an end": ["X".repeat(1_000_000)],
  };
  for (const [what, lines] of Object.entries(floods)) {
    test(`${what}: refused`, async () => {
      assert.match(await answerTo([...handshakeLines(node, V2), ...lines]), /^HTTP\/1\.1 4(00|31) /);
      await isUndisturbed();
    });
  }

  test("a path of a megabyte: refused", async () => {
    const answer = await answerTo(handshakeLines(node, `${V2}&x=${"y".repeat(1_000_000)}`));
    assert.match(answer, /^HTTP\/1\.1 4(00|14|31) /);
    await isUndisturbed();
  });

  test("nonsense instead of HTTP: refused", async () => {
    assert.match(await answerTo(["\u0016\u0003\u0001 hello"]), /^(HTTP\/1\.1 400 |$)/);
    await isUndisturbed();
  });

  test("frames before the handshake is answered are the first of the connection", async () => {
    const socket = await dial(node);
    const join = frame(TEXT, JSON.stringify(["1", "1", "lab:early", "phx_join", {}]));
    const head = `${handshakeLines(node, V2).join("\r\n")}\r\n\r\n`;
    socket.write(Buffer.concat([Buffer.from(head), join]));
    let seen = "";
    socket.on("data", (bytes) => (seen += bytes.toString("latin1")));
    await within(
      (async () => {
        while (!seen.includes("phx_reply")) await once(socket, "data");
      })(),
      "reply to the early join",
    );
    socket.destroy();
    await isUndisturbed();
  });
});

/** Sends these lines as a request's head, and gives all that is answered until the server hangs up. */
async function answerTo(lines) {
  const socket = await dial(node);
  let answer = "";
  socket.on("data", (bytes) => (answer += bytes.toString("latin1")));
  socket.end(`${lines.join("\r\n")}\r\n\r\n`);
  await within(once(socket, "close"), "the server's end of the connection");
  return answer;
}
