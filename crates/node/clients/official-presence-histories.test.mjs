// The official client's own `Presence` class, unmodified, in thousands of histories that no network has to be waited for: a program plays a
// node's lists and its clients with a clock of its own (`testing::History` of the presence crate), and the class is fed, one client
// after the other, with the frames that came to it. What each holds in the end is the server's list.
//
// Topics with a whole list, a window and a count on one connection; differences in parts; people who leave and join again, give joins up and
// lose their connection, with a grace and without; channels that crash, nodes that restart, links that break; minutes that pass.
// A history is chosen by a seed, which is printed; PRESENCE_SEED=N plays the same ones again.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { before, describe, test } from "node:test";
import { generations } from "./harness/phoenix.mjs";
import { inItsTime, Scripted } from "./harness/scripted.mjs";
import { sorted } from "./harness/presence-lists.mjs";

const seed = Number(process.env.PRESENCE_SEED ?? Math.floor(Math.random() * 2 ** 31));
const HISTORIES = Number(process.env.PRESENCE_HISTORIES ?? 1_000);

/** Whose clients have the class. */
const withClass = generations.filter((generation) => generation.binary && !generation.balanced && !generation.polls);

/** Clients before 1.8.9 take such names for people who are there already. */
const dangerous = /"(__proto__|constructor)"/g;

let lines;
before(async () => {
  lines = await histories();
});

/** Each history as a line of JSON. */
async function histories() {
  const program = process.env.MATRYOSHKA_HISTORIES;
  if (!program) throw new Error("MATRYOSHKA_HISTORIES is not set: the path of the presence crate's example `histories`");
  const child = spawn(program, ["--seed", String(seed), "--seeds", String(HISTORIES)], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise((done) => child.on("close", done));
  const lines = [];
  for await (const line of createInterface({ input: child.stdout })) lines.push(line);
  assert.equal(await ended, 0, `the program of PRESENCE_SEED=${seed}`);
  return lines;
}

/** Does what a script says, and compares what the client holds then. Whether it could be followed to its end. */
function follow(phoenix, pass, { does, lists, counts }, what) {
  const client = new Scripted(phoenix, pass);
  for (const [name, ...of] of does) {
    client[name](...of);
    if (client.isLost) return false;
  }
  for (const [topic, list] of Object.entries(lists)) {
    const { presence } = client.places.get(topic);
    assert.deepEqual(JSON.parse(JSON.stringify(sorted(presence.state))), JSON.parse(JSON.stringify(sorted(list))), `${topic}, ${what}`);
    assert.deepEqual(presence.pendingDiffs, [], `${topic}, ${what}`);
  }
  for (const [topic, count] of Object.entries(counts)) assert.deepEqual(client.places.get(topic).count, count, `${topic}, ${what}`);
  return true;
}

for (const { name, phoenix } of withClass) {
  describe(name, () => {
    test(`J1 to J13 in ${HISTORIES} histories from seed ${seed} on: each client ends with the server's lists`, () => {
      assert.equal(lines.length, HISTORIES);
      let lost = 0;
      for (const line of lines) {
        const text = name.includes("1.8") ? line : line.replace(dangerous, '"no $1"');
        const { seed: number, clients } = JSON.parse(text);
        clients.forEach((script, at) => {
          const isFollowed = inItsTime((pass) => follow(phoenix, pass, script, `client ${at}, PRESENCE_SEED=${number}`));
          lost += isFollowed ? 0 : 1;
        });
      }
      const most = name.includes("1.6") ? HISTORIES / 10 : 0;
      assert.ok(lost <= most, `${lost} scripts not followed to the end, PRESENCE_SEED=${seed}`);
    });
  });
}
