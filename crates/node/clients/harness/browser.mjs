// Headless Chromium, and the client's files that the nodes' pages load there.

import { chromium } from "playwright-core";

/** The folder that nodes serve the official client from. */
export const assets = required("MATRYOSHKA_ASSETS", "the folder with the official client's browser files");
const executablePath = required("MATRYOSHKA_CHROMIUM", "the path of Chromium");

/** No sandbox: Chromium has none as root. The rest keeps it from looking for the network. */
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export function launch() {
  return chromium.launch({ executablePath, args: FLAGS });
}

/** What the environment says by that variable. */
export function required(variable, what) {
  const value = process.env[variable];
  if (!value) throw new Error(`${variable} is not set: ${what}. \`cargo xtask test\` sets it.`);
  return value;
}
