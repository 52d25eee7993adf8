// The chat page: one room shared by every node, spoken to with the official Phoenix client, unmodified.
//
// Reads top-down: what the page shows, the room, the connection, the nodes. Whatever came from somebody else
// enters the page as text (textContent), never as markup.

const ROOM = "room:lobby";
const MESSAGES_KEPT = 500; // older lines leave the page: nothing grows without a bound
const TYPING_SENT_EVERY_MS = 2000;
const TYPING_SHOWN_MS = 3500;
const DROPPED_FOR_MS = 2000;
const NODES_ASKED_EVERY_MS = 2000;
const RECONNECT_AFTER_MS = [10, 50, 100, 150, 200, 250, 500, 1000, 2000]; // then 5 s: the client's own steps

const element = (id) => document.getElementById(id);
const page = {
  main: document.querySelector("main"),
  entry: element("entry"), joinForm: element("join-form"), name: element("name"), join: element("join"),
  conversation: element("conversation"), log: element("log"), messages: element("messages"),
  latest: element("latest"), typing: element("typing"),
  here: element("here"), people: element("people"), peopleCount: element("people-count"),
  away: element("away"), leave: element("leave"),
  error: element("error"), composer: element("composer"), input: element("message-input"), send: element("send"),
  nodeName: element("node-name"), nodeLinks: element("node-links"), status: element("status"), drop: element("drop"),
};

/** What this tab is doing: null until somebody joined, and again after leaving. */
let visit = null;

// --- showing -----------------------------------------------------------------------------------------------

const STATUS_TEXT = { idle: "Not joined", connecting: "Connecting…", online: "Online", offline: "Offline" };

function showStatus(state) {
  if (page.status.dataset.state === state) return;
  page.status.dataset.state = state;
  page.status.textContent = STATUS_TEXT[state];
  page.drop.disabled = state !== "online";
  page.main.classList.toggle("stale", state !== "online");
}

function showError(text) {
  page.error.textContent = text;
}

function showRoom(joined) {
  page.main.classList.toggle("joined", joined);
  page.entry.hidden = joined;
  for (const part of [page.conversation, page.here, page.composer, page.drop]) part.hidden = !joined;
  (joined ? page.input : page.name).focus();
}

/** A new element with a class and, if given, a text. */
function make(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

/** A hue from 0 to 359 that is always the same for one name. */
function hueOf(name) {
  let hash = 0;
  for (const sign of name) hash = (hash * 31 + sign.codePointAt(0)) % 9973;
  return (hash * 137) % 360; // near the golden angle: names that differ little get colours that differ much
}

function avatarOf(name) {
  const avatar = make("span", "avatar", [...name][0]?.toUpperCase() ?? "?");
  avatar.setAttribute("aria-hidden", "true");
  return avatar;
}

/** Whether the log shows its newest line; false while the reader has scrolled up. */
let following = true;

function scrollToEnd() {
  page.log.scrollTop = page.log.scrollHeight;
}

function noticeScroll() {
  const { log, latest } = page;
  following = log.scrollHeight - log.scrollTop - log.clientHeight < 48;
  if (following) latest.hidden = true;
}

function addLine(line) {
  page.messages.append(line);
  while (page.messages.children.length > MESSAGES_KEPT) page.messages.firstElementChild.remove();
  if (following) scrollToEnd();
  page.latest.hidden = following;
}

function addNote(text) {
  const line = make("li", "note", text);
  line.dataset.kind = "note";
  addLine(line);
}

function addMessage({ user, body }) {
  const previous = page.messages.lastElementChild;
  const line = make("li", "message");
  line.dataset.kind = "message";
  line.dataset.user = user;
  line.style.setProperty("--hue", hueOf(user));
  line.classList.toggle("own", user === visit.user);
  line.classList.toggle("more", previous?.dataset.user === user);

  const now = new Date();
  const time = make("time", "time", now.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
  time.dateTime = now.toISOString();
  const byline = make("div", "byline");
  byline.append(make("span", "author", user), time);
  line.append(avatarOf(user), byline, make("div", "body", body));
  addLine(line);
}

// --- who is here, who is typing ----------------------------------------------------------------------------

function showPeople() {
  const people = visit.presence.list((user, { metas }) => ({ user, metas }));
  people.sort((a, b) => (b.user === visit.user) - (a.user === visit.user) || a.user.localeCompare(b.user));
  page.peopleCount.textContent = String(people.length);
  page.people.replaceChildren(...people.map(personLine));
}

function personLine({ user, metas }) {
  const away = metas.every((meta) => meta.status === "away");
  const line = make("li", "person");
  line.dataset.user = user;
  line.dataset.status = away ? "away" : "online";
  line.style.setProperty("--hue", hueOf(user));
  line.append(avatarOf(user), make("span", "person-name", user));

  const notes = [];
  if (user === visit.user) notes.push("you");
  if (away) notes.push("away");
  if (metas.length > 1) notes.push(`${metas.length} tabs`);
  if (notes.length > 0) line.append(make("span", "person-note", notes.join(" · ")));
  return line;
}

/** Notes who came and went; the first list of a visit is not news. */
function watchPresence(presence) {
  let first = true;
  presence.onJoin((user, before) => { if (!first && !before) addNote(`${user} joined`); });
  presence.onLeave((user, remains) => { if (!first && remains.metas.length === 0) addNote(`${user} left`); });
  presence.onSync(() => { first = false; showPeople(); });
}

function showTyping() {
  const names = [...visit.typing.keys()];
  const text = names.length === 0 ? "" : names.length === 1 ? `${names[0]} is typing…`
    : names.length === 2 ? `${names[0]} and ${names[1]} are typing…` : "Several people are typing…";
  page.typing.textContent = text;
}

function startedTyping(user) {
  clearTimeout(visit.typing.get(user));
  const typing = visit.typing;
  typing.set(user, setTimeout(() => { typing.delete(user); if (visit?.typing === typing) showTyping(); }, TYPING_SHOWN_MS));
  showTyping();
}

function stoppedTyping(user) {
  clearTimeout(visit.typing.get(user));
  visit.typing.delete(user);
  showTyping();
}

// --- the room ----------------------------------------------------------------------------------------------

function enter({ Socket, Presence }, user) {
  // The parameters are asked for at every attempt to connect, so this is also where an attempt begins.
  const params = () => { showStatus("connecting"); return { user }; };
  const current = () => visit?.socket === socket; // a socket left behind may still report its end
  const socket = new Socket("/socket", { params, reconnectAfterMs });
  const channel = socket.channel(ROOM, {});
  visit = { user, socket, channel, presence: new Presence(channel), typing: new Map(), typingSentAt: 0, comesBackAt: 0, entered: false };
  watchPresence(visit.presence);

  socket.onClose(() => { if (current()) wentOffline(); });
  socket.onError(() => {
    if (!current()) return;
    wentOffline();
    if (!visit.entered) showError("The node did not accept the connection. Trying again; you can also open another node above.");
  });
  channel.onError(() => { if (current() && socket.isConnected()) showStatus("connecting"); });
  channel.on("new_msg", (message) => { stoppedTyping(message.user); addMessage(message); });
  channel.on("typing", ({ user: other }) => startedTyping(other));
  channel.join()
    .receive("ok", entered)
    .receive("error", ({ reason }) => { leave(); showError(`The room did not let you in: ${reason}`); })
    .receive("timeout", () => showError("The room has not answered for ten seconds. Trying again."));
  socket.connect();
}

/** After every join, the first and each one after a lost connection. */
function entered() {
  showError("");
  showStatus("online");
  if (!visit.entered) {
    visit.entered = true;
    page.messages.replaceChildren();
    page.away.checked = false;
    showRoom(true);
    addNote("You are in the lobby. Nothing is stored: you see what is said while you are here.");
  } else {
    addNote("Connected again. What was said meanwhile is not shown.");
    if (page.away.checked) sendStatus(); // each join starts as "online"
  }
}

function wentOffline() {
  if (page.status.dataset.state === "online") addNote("The connection is gone. It comes back by itself.");
  showStatus("offline");
}

function leave() {
  visit.typing.forEach(clearTimeout);
  visit.channel.leave();
  visit.socket.disconnect();
  visit = null;
  page.typing.textContent = "";
  page.join.disabled = false;
  showStatus("idle");
  showError("");
  showRoom(false);
}

/** Waiting times of the client, but never sooner than a drop by the button asks for. */
function reconnectAfterMs(tries) {
  const steps = RECONNECT_AFTER_MS[tries - 1] ?? 5000;
  return Math.max(steps, (visit?.comesBackAt ?? 0) - Date.now());
}

function sendMessage() {
  const body = page.input.value;
  if (visit.channel.state !== "joined" || !visit.socket.isConnected()) {
    showError("Not sent: the connection is down. Your text is kept; send it again when you are online.");
    return;
  }
  page.input.value = "";
  const notSent = (why) => {
    if (page.input.value === "") page.input.value = body;
    showError(`Not sent: ${why}`);
  };
  visit.typingSentAt = 0;
  visit.channel.push("new_msg", { body })
    .receive("ok", () => showError(""))
    .receive("error", ({ reason }) => notSent(reason))
    .receive("timeout", () => notSent("no answer from the node"));
}

function sendTyping() {
  const now = Date.now();
  if (page.input.value === "" || visit.channel.state !== "joined" || now - visit.typingSentAt < TYPING_SENT_EVERY_MS) return;
  visit.typingSentAt = now;
  visit.channel.push("typing", {});
}

function sendStatus() {
  visit.channel.push("status", { status: page.away.checked ? "away" : "online" });
}

/** Cuts the wire under the client, as a tunnel or a dead router would; the client comes back by itself. */
function dropConnection() {
  visit.comesBackAt = Date.now() + DROPPED_FOR_MS;
  visit.socket.conn.close();
  page.input.focus(); // the button is about to be disabled, and must not take the focus with it
}

// --- the nodes ---------------------------------------------------------------------------------------------

async function ask(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(NODES_ASKED_EVERY_MS) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

/** Keeps the links to the other nodes, and how this node sees them, up to date. */
async function watchNodes() {
  let links = [];
  let peers = [];
  let linksKnown = false;
  for (;;) {
    try {
      if (!linksKnown) {
        ({ links } = await ask("/api/page"));
        linksKnown = true;
      }
      const cluster = await ask("/api/cluster");
      page.nodeName.textContent = cluster.name;
      peers = cluster.peers;
    } catch {
      peers = peers.map((peer) => ({ ...peer, state: "unknown" })); // this node is gone: nobody to ask
    }
    showNodes(links, peers);
    await new Promise((resume) => setTimeout(resume, NODES_ASKED_EVERY_MS));
  }
}

function showNodes(links, peers) {
  const urls = new Map(links.map(({ name, url }) => [name, url]));
  const states = new Map(peers.map(({ name, state }) => [name, state]));
  const names = [...new Set([...urls.keys(), ...states.keys()])].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  const wanted = names.map((name) => [name, urls.get(name) ?? "", states.get(name) ?? "unknown"]);
  const shown = JSON.stringify(wanted);
  if (page.nodeLinks.dataset.shown === shown) return; // do not take the focus from a link that has not changed
  page.nodeLinks.dataset.shown = shown;
  const focused = document.activeElement?.dataset?.node;
  page.nodeLinks.replaceChildren(...wanted.map((node) => nodeLine(...node)));
  if (focused) page.nodeLinks.querySelector(`[data-node="${CSS.escape(focused)}"]`)?.focus();
}

function nodeLine(name, url, state) {
  const known = /^https?:\/\//.test(url);
  const pill = make(known ? "a" : "span", "pill");
  pill.dataset.node = name;
  pill.dataset.state = state;
  if (known) {
    pill.href = url;
    pill.target = "_blank";
    pill.rel = "noopener";
    pill.title = `Open the same room on ${name}, in a new tab`;
  }
  pill.append(make("span", "pill-name", name));
  pill.append(make("span", state === "up" ? "unseen" : "pill-state", state));
  const line = make("li", "");
  line.append(pill);
  return line;
}

// --- start -------------------------------------------------------------------------------------------------

/** The client may still be on its way when somebody is quick to enter a name: `loading` is a promise of it. */
function listen(loading) {
  page.joinForm.addEventListener("submit", (event) => {
    event.preventDefault();
    if (visit) return;
    const user = page.name.value.trim();
    if (user === "") {
      showError("Enter a name first: the others see it beside your messages.");
      page.name.focus();
      return;
    }
    sessionStorage.setItem("name", user);
    showError("");
    page.join.disabled = true;
    loading.then((client) => enter(client, user));
  });
  page.join.disabled = false;
  page.composer.addEventListener("submit", (event) => { event.preventDefault(); sendMessage(); page.input.focus(); });
  page.input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    sendMessage();
  });
  page.input.addEventListener("input", sendTyping);
  page.away.addEventListener("change", sendStatus);
  page.leave.addEventListener("click", leave);
  page.drop.addEventListener("click", dropConnection);
  page.latest.addEventListener("click", () => { scrollToEnd(); page.input.focus(); });
  page.log.addEventListener("scroll", noticeScroll);
  new ResizeObserver(() => { if (following) scrollToEnd(); }).observe(page.log); // a notice or a keyboard takes room
}

page.name.value = sessionStorage.getItem("name") ?? "";
watchNodes();
const loading = import("/assets/phoenix.mjs");
listen(loading);
loading.catch(() => {
  page.join.disabled = true;
  showError("The official Phoenix client (/assets/phoenix.mjs) could not be loaded. Start the node with --assets DIR, or use: cargo xtask demo");
});
