// Lists of who is here, and waiting for clients and servers to hold the same one.

import { eventually } from "./wait.mjs";

/** A list whose order within a key, which means nothing, is always the same. */
export function sorted(list) {
  const entries = Object.entries(list).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, { metas }]) => [key, [...metas].sort((a, b) => (a.phx_ref < b.phx_ref ? -1 : 1))]));
}

/** Waits until each list of `held`, which gives them sorted and as JSON, is what each node lists, field by field. */
export async function allAgree(nodes, room, held, what) {
  let seen;
  const agree = async () => {
    const lists = await Promise.all(nodes.map(async (node) => JSON.stringify(sorted(await node.presence(room)))));
    seen = { lists, held: await held() };
    return [...lists, ...seen.held].every((list) => list === lists[0]);
  };
  await eventually(agree, what).catch((error) => {
    throw new Error(`${error.message}: ${JSON.stringify(seen)}`);
  });
}
