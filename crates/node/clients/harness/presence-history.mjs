// Random histories of a room with presence, each chosen by a seed. Nothing here needs Node.js, so that a page can play them too.

const STEPS = 60;
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

/** Plays one history: `enter(user, node)` gives a follower that has joined. Gives those who are still there, and all who were. */
export async function play(enter, users, dice) {
  let here = [await enter("anna", 0)];
  const everybody = [...here];
  const actions = {
    enter: async () => {
      if (here.length >= 8) return;
      const follower = await enter(dice.one(users), dice.below(3));
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
    hold: async (one) => one.holdInOrder(),
    release: async (one) => one.held && one.release(),
  };
  for (let step = 0; step < STEPS; step++) {
    const name = here.length ? dice.one(Object.keys(actions)) : "enter";
    const done = actions[name](here.length ? dice.one(here) : undefined);
    // Most actions are under way while the next one begins. Pushes may get no reply, where a connection is lost before it.
    if (name === "comeBack" || name === "enter") await done;
    else if (dice.below(3) === 0) await done.catch(() => {});
    else done.catch(() => {});
  }
  for (const one of here) if (one.held) one.release();
  return { here, everybody };
}
