// Waiting for named events with a deadline. Nothing in these suites sleeps and hopes: a test that
// waits for ever, or too long, fails with the name of what did not come.

/** How long a test waits for one thing, in ms. Generous: it is only ever used up by a failure. */
export const DEADLINE_MS = 30_000;

/** How often a list that can only be asked for is asked for, in ms. */
const ASK_EVERY_MS = 25;

/** Settles as `promise` does, or fails after `ms` saying that `what` did not come. */
export function within(promise, what, ms = DEADLINE_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} within ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Asks `question` again and again until it answers something truthy, and gives that answer. */
export async function eventually(question, what, ms = DEADLINE_MS) {
  const end = Date.now() + ms;
  let last;
  for (;;) {
    try {
      last = await question();
    } catch (error) {
      last = error;
    }
    if (last && !(last instanceof Error)) return last;
    if (Date.now() > end) {
      const seen = last instanceof Error ? `: ${last.message}` : "";
      throw new Error(`no ${what} within ${ms} ms${seen}`);
    }
    await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
  }
}

/** What has arrived and was not yet taken, in order, with waiters for what comes next. */
export class Inbox {
  constructor(name) {
    this.name = name;
    this.items = [];
    this.waiters = [];
  }

  put(item) {
    const index = this.waiters.findIndex((waiter) => waiter.wants(item));
    if (index < 0) this.items.push(item);
    else this.waiters.splice(index, 1)[0].resolve(item);
  }

  /** Takes the first item that `wants` accepts, now or when it arrives. */
  take(wants, what, ms = DEADLINE_MS) {
    const index = this.items.findIndex(wants);
    if (index >= 0) return Promise.resolve(this.items.splice(index, 1)[0]);
    const waiter = { wants };
    const arrived = new Promise((resolve) => (waiter.resolve = resolve));
    this.waiters.push(waiter);
    return within(arrived, `${what} at ${this.name}`, ms).catch((error) => {
      this.waiters = this.waiters.filter((other) => other !== waiter);
      throw new Error(`${error.message}; waiting there: ${JSON.stringify(this.items)}`);
    });
  }

  /** Takes the very next item, whatever it is. */
  next(what) {
    return this.take(() => true, what);
  }
}
