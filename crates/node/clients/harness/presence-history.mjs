// Random histories of a room with presence, each chosen by a seed. Nothing here needs Node.js, so that a page can play them too.

const STEPS = 60;
/** No more clients than this at once. */
const MOST = 8;
/** So many clients there are most of the time, and so many people at least in the end. */
const USUAL = 5;
export const PEOPLE = 3;
/** How often each of these happens in a history at least, or it would say little. */
export const LEAST = { enter: 6, status: 5, comeBack: 4, leaveTopic: 2, loseConnection: 2, leaveAndJoin: 4 };
/** A slow network is so many ms behind at most, and whoever leaves and is back is away for as long. */
const LATE_MS = 400;
/** Some of them are names that every JavaScript object knows. */
export const USERS = ["anna", "ben", "carl", "__proto__", "constructor", "hasOwnProperty"];
/** Clients before 1.8.9 take those for people who are there already. */
const OLDER_USERS = USERS.slice(0, 3);

/** Who may be in a history of that generation's clients. */
export const usersOf = (generation) => (generation.name.includes("1.8") ? USERS : OLDER_USERS);

/** Numbers that a seed decides. */
export function dice(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  return { below: (n) => next() % n, one: (list) => list[next() % list.length] };
}

// tidy: sleep because it plays a network that is late
const later = (ms) => new Promise((done) => setTimeout(done, ms));

/**
 * Plays one history: `enter(user, node)` gives a follower that has joined. Gives those who are still there, all who were, and how often
 * what happened.
 */
export async function play(enter, users, dice) {
  let here = [await enter("anna", 0)];
  const everybody = [...here];
  const happened = {};
  const returning = [];
  const actions = {
    enter: async (_, user = dice.one(users)) => {
      const follower = await enter(user, dice.below(3));
      here.push(follower);
      everybody.push(follower);
    },
    status: (one) => one.talk.push("status", { status: `status ${dice.below(100)}` }),
    twoStatuses: (one) => Promise.all([one.talk.push("status", { status: "a" }), one.talk.push("status", { status: "b" })]),
    leaveTopic: async (one) => {
      here = here.filter((other) => other !== one);
      one.talk.channel.leave();
    },
    loseConnection: async (one) => {
      here = here.filter((other) => other !== one);
      // A join that it gives up by that may still be answered, and the class would put off that join's diffs.
      one.lose();
      await one.client.end();
    },
    comeBack: async (one) => {
      // What is on its way is lost with the connection, a list above all. A diff that waited for it would be kept by the class,
      // and be added to the next join's list: so none may come before it.
      one.lose();
      one.client.socket.conn.close(4000);
      await one.client.opened("connection again");
    },
    leaveAndJoin: async (one) => {
      // What it is sent until then comes behind its new join, in order.
      one.holdAll();
      one.leave();
      one.isAway = true;
      await later(dice.below(2) * dice.below(LATE_MS));
      one.isAway = false;
      if (!here.includes(one)) return;
      one.back();
      await later(dice.below(LATE_MS));
      if (one.held) one.release();
    },
    hold: async (one) => one.holdInOrder(),
    release: async (one) => one.held && one.release(),
  };
  const names = Object.keys(actions);
  const goes = (name) => name === "leaveTopic" || name === "loseConnection";
  const next = () => {
    if (here.length < USUAL && dice.below(2) === 0) return "enter";
    // Somebody has to be there for whatever comes next.
    const isLast = here.filter((one) => !one.isAway).length < 2;
    const fits = (name) => {
      if (goes(name)) return here.length >= PEOPLE && !isLast;
      if (name === "leaveAndJoin") return !isLast;
      return name !== "enter" || here.length < MOST;
    };
    return dice.one(names.filter(fits));
  };
  const lacks = () => Object.entries(LEAST).some(([name, least]) => !(happened[name] >= least));
  for (let step = 0; step < STEPS || (lacks() && step < 10 * STEPS); step++) {
    const name = next();
    happened[name] = (happened[name] ?? 0) + 1;
    const done = actions[name](dice.one(here.filter((one) => !one.isAway)));
    if (name === "leaveAndJoin") returning.push(done);
    // Most actions are under way while the next one begins. Pushes may get no reply, where a connection is lost before it.
    if (name === "comeBack" || name === "enter") await done;
    else if (dice.below(3) === 0) await done.catch(() => {});
    else done.catch(() => {});
  }
  await Promise.all(returning);
  for (const user of users) {
    if (new Set(here.map((one) => one.user)).size >= PEOPLE) break;
    if (!here.some((one) => one.user === user)) await actions.enter(undefined, user);
  }
  for (const one of here) if (one.held) one.release();
  return { here, everybody, happened };
}
