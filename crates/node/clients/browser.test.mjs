// The chat page in headless Chromium, over WebSocket and over long polling: two tabs on two nodes of one cluster.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { assets, launch, required } from "./harness/browser.mjs";
import { startCluster } from "./harness/cluster.mjs";
import { DEADLINE_MS } from "./harness/wait.mjs";

const artifacts = required("MATRYOSHKA_ARTIFACTS", "the folder that screenshots go to");

/** The carriers, each with what a page runs first to be left with it alone: the client takes what the browser has. */
const CARRIERS = { WebSocket: "", "long polling": "delete globalThis.WebSocket;" };

/** One tab and the page's parts, by the names that the page gives them for tests. */
class Tab {
  static async open(node, { carrier = "WebSocket", ...options } = {}) {
    const context = await browser.newContext({ viewport: { width: 900, height: 640 }, ...options });
    context.setDefaultTimeout(DEADLINE_MS);
    await context.addInitScript(CARRIERS[carrier]);
    const tab = new Tab(context, await context.newPage());
    tab.page.on("websocket", () => tab.carriers.add("WebSocket"));
    tab.page.on("request", (request) => request.url().includes("/longpoll?") && tab.carriers.add("long polling"));
    tab.page.on("pageerror", (error) => tab.errors.push(String(error)));
    tab.page.on("console", (line) => line.type() === "error" && tab.errors.push(line.text()));
    await tab.page.goto(node.url);
    return tab;
  }

  constructor(context, page) {
    this.context = context;
    this.page = page;
    this.errors = [];
    this.carriers = new Set();
  }

  part(name) {
    return this.page.getByTestId(name);
  }

  async enter(user) {
    await this.part("name").fill(user);
    await this.part("join").click();
    await this.isAt("online");
  }

  isAt(state) {
    return this.page.locator(`[data-testid="status"][data-state="${state}"]`).waitFor();
  }

  async say(text) {
    await this.part("message-input").fill(text);
    await this.part("send").click();
  }

  hears(author, text) {
    const message = this.part("messages").locator('li[data-kind="message"]');
    return message.filter({ has: this.page.locator(".author", { hasText: author }) }).filter({ hasText: text }).waitFor();
  }

  async lists(...users) {
    const people = this.part("people");
    for (const user of users) await people.locator(`li[data-user="${user}"]`).waitFor();
    await this.page.waitForFunction(
      (count) => document.querySelectorAll('[data-testid="people"] li[data-user]').length === count,
      users.length,
    );
  }

  close() {
    return this.context.close();
  }
}

let cluster;
let browser;
before(async () => {
  await mkdir(artifacts, { recursive: true });
  const starting = startCluster(3, ["--assets", assets]);
  browser = await launch();
  cluster = await starting;
});
after(async () => {
  await browser?.close();
  await cluster?.stop();
});

for (const carrier of Object.keys(CARRIERS)) {
  const slug = carrier.replaceAll(" ", "-").toLowerCase();

  describe(`the chat page over ${carrier}, two tabs on two nodes`, { concurrency: 1 }, () => {
    let anna;
    let ben;
    beforeEach(async () => {
      anna = await Tab.open(cluster.nodes[0], { carrier });
      ben = await Tab.open(cluster.nodes[1], { carrier });
      await anna.enter("Anna");
      await ben.enter("Ben");
      for (const tab of [anna, ben]) await tab.lists("Anna", "Ben");
      for (const tab of [anna, ben]) assert.deepEqual([...tab.carriers], [carrier]);
    });
    const closeBoth = () => Promise.all([anna.close(), ben.close()]);

    test("they see each other, chat, and the picture is kept", async () => {
      assert.equal(await anna.part("node-name").textContent(), "n1");
      assert.equal(await ben.part("node-name").textContent(), "n2");
      await anna.say("Hello from the first node");
      await ben.hears("Anna", "Hello from the first node");
      await ben.say("And hello from the second");
      for (const tab of [anna, ben]) await tab.hears("Ben", "And hello from the second");
      await anna.page.screenshot({ path: join(artifacts, `chat-n1-${slug}.png`) });
      await ben.page.screenshot({ path: join(artifacts, `chat-n2-${slug}.png`) });
      assert.deepEqual([...anna.errors, ...ben.errors], []);
      await closeBoth();
    });

    test("typing is shown to the other, and only there", async () => {
      await anna.part("message-input").pressSequentially("Hmm");
      await ben.part("typing").filter({ hasText: "Anna" }).waitFor();
      assert.doesNotMatch(await anna.part("typing").textContent(), /Anna/);
      await closeBoth();
    });

    test("one closes its tab and leaves the other's list", async () => {
      await ben.close();
      await anna.lists("Anna");
      await anna.close();
    });

    test("the drop button cuts the connection, and it comes back by itself", async () => {
      await anna.part("drop").click();
      await anna.page.locator('[data-testid="status"]:not([data-state="online"])').waitFor();
      await anna.isAt("online");
      for (const tab of [anna, ben]) await tab.lists("Anna", "Ben");
      await ben.say("Welcome back");
      await anna.hears("Ben", "Welcome back");
      await closeBoth();
    });

    test("away is seen by the other", async () => {
      await ben.part("away").check();
      await anna.part("people").locator('li[data-user="Ben"][data-status="away"]').waitFor();
      await closeBoth();
    });
  });
}

/** A page of one node whose client talks to another: each request is one to a foreign origin, and some are asked for before. */
for (const carrier of Object.keys(CARRIERS)) {
  test(`over ${carrier} from a page of another origin: joined, answered, and told what others say`, async () => {
    const [home, away] = cluster.nodes;
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(`${home.url}/health/live`);
    const heard = await page.evaluate(talkFrom, { socket: away.socket, carrier, topic: `lab:foreign-${carrier}` });
    assert.deepEqual(heard, [
      ["ok", { n: 1 }],
      ["shout", { n: 2 }],
      ["error", { n: 3 }],
    ]);
    await context.close();
  });
}

test("a name is text, never markup", async () => {
  const evil = await Tab.open(cluster.nodes[0]);
  const name = "<img src=x onerror=alert(1)>";
  await evil.enter(name);
  await evil.say("<b>bold?</b>");
  await evil.hears(name, "<b>bold?</b>");
  assert.equal(await evil.page.locator("[data-testid=messages] img, [data-testid=messages] b").count(), 0);
  await evil.close();
});

for (const [what, options] of Object.entries({
  "on a phone": { viewport: { width: 360, height: 640 }, hasTouch: true, isMobile: true },
  "in dark mode": { colorScheme: "dark" },
})) {
  test(`${what}: nothing is cut off sideways, and the picture is kept`, async () => {
    const tab = await Tab.open(cluster.nodes[2], options);
    await tab.enter("Carla");
    await tab.say("A message that is long enough to be wrapped into several lines on a narrow screen, as people do write");
    await tab.hears("Carla", "A message that is long enough");
    const cut = await tab.page.evaluate(partsBeyond, tab.page.viewportSize().width);
    assert.deepEqual(cut, []);
    await tab.page.screenshot({ path: join(artifacts, `chat-${what.replaceAll(" ", "-")}.png`) });
    await tab.close();
  });
}

test("by keyboard alone: name, Enter, message, Enter", async () => {
  const tab = await Tab.open(cluster.nodes[1]);
  await tab.part("name").focus();
  await tab.page.keyboard.type("Kim");
  await tab.page.keyboard.press("Enter");
  await tab.isAt("online");
  await tab.part("message-input").focus();
  await tab.page.keyboard.type("no mouse here");
  await tab.page.keyboard.press("Enter");
  await tab.hears("Kim", "no mouse here");
  await tab.close();
});

test("three tabs on three nodes are one room, and the picture of them is kept", async () => {
  const names = ["Anna", "Ben", "Carla"];
  const tabs = [];
  for (const [index, name] of names.entries()) {
    const tab = await Tab.open(cluster.nodes[index], { viewport: { width: 420, height: 600 } });
    await tab.enter(name);
    tabs.push(tab);
  }
  for (const tab of tabs) await tab.lists(...names);
  for (const [index, text] of ["Hello from the first node", "Ben here, on the second", "And I am on the third"].entries()) {
    await tabs[index].say(text);
    for (const tab of tabs) await tab.hears(names[index], text);
  }
  const shots = [];
  for (const tab of tabs) shots.push(await tab.page.screenshot());
  await sideBySide(shots, join(artifacts, "chat.png"));
  for (const tab of tabs) await tab.close();
});

/** Runs in the page: a conversation of the official client over that carrier. */
async function talkFrom({ socket: url, carrier, topic }) {
  const { Socket, LongPoll } = await import("/assets/phoenix.mjs");
  const transport = carrier === "WebSocket" ? WebSocket : LongPoll;
  const socket = new Socket(url, { transport, params: { user: "frank" } });
  socket.connect();
  const channel = socket.channel(topic, {});
  const answered = (push) =>
    new Promise((resolve, reject) => {
      for (const status of ["ok", "error"]) push.receive(status, (response) => resolve([status, response]));
      push.receive("timeout", () => reject(new Error("no answer")));
    });
  await answered(channel.join());
  const heard = [await answered(channel.push("echo", { n: 1 }))];
  const shouted = new Promise((resolve) => channel.on("shout", (payload) => resolve(["shout", payload])));
  channel.push("shout", { n: 2 });
  heard.push(await shouted, await answered(channel.push("fail", { n: 3 })));
  socket.disconnect();
  return heard;
}

/** Puts pictures of the same height into one. */
async function sideBySide(pictures, path) {
  const images = pictures.map((png) => `<img src="data:image/png;base64,${png.toString("base64")}">`);
  const page = await browser.newPage({ viewport: { width: 1340, height: 640 } });
  await page.setContent(`<body style="margin:20px;display:flex;gap:20px;background:#8a8178">${images.join("")}</body>`);
  await page.screenshot({ path });
  await page.close();
}

/** Runs in the page: what a person can use and cannot see whole. */
function partsBeyond(width) {
  const parts = [...document.querySelectorAll("button, input, a, [data-testid]")];
  const boxes = parts.map((part) => [part, part.getBoundingClientRect()]);
  const cut = boxes.filter(([, box]) => box.width > 0 && (box.right > width + 0.5 || box.left < -0.5));
  return cut.map(([part, box]) => `${part.dataset.testid ?? part.tagName}: ${box.left} to ${box.right} of ${width}`);
}
