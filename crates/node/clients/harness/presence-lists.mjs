// Lists of who is here, and waiting for clients and servers to hold the same one.

import { eventually } from "./wait.mjs";

/** A list whose order within a key, which means nothing, is always the same. */
export function sorted(list) {
  const entries = Object.entries(list).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, { metas }]) => [key, [...metas].sort((a, b) => (a.phx_ref < b.phx_ref ? -1 : 1))]));
}

/**
 * Waits until each list of `held`, which gives them sorted and as JSON, is what each node lists, field by field. With `people`
 * the list has each of them as often as they are named, and nobody else.
 */
export async function allAgree(nodes, room, held, what, people) {
  const wanted = people && [...people].sort().join();
  let seen;
  const agree = async () => {
    const lists = await Promise.all(nodes.map(async (node) => sorted(await node.presence(room))));
    seen = { lists: lists.map((list) => JSON.stringify(list)), held: await held(), people };
    const same = [...seen.lists, ...seen.held].every((list) => list === seen.lists[0]);
    return same && (!people || places(lists[0]).join() === wanted);
  };
  await eventually(agree, what).catch((error) => {
    throw new Error(`${error.message}: ${JSON.stringify(seen)}`);
  });
}

/** Each key as often as it has metas. */
const places = (list) => Object.entries(list).flatMap(([key, metas]) => metas.map(() => key)).sort();
