#!/usr/bin/env node
// Starts the command line on a Node that runs TypeScript. `npm ci` brings such a Node along; where an older one
// is first in PATH, this hands over to it.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
const runsTypeScript = major > 22 || (major === 22 && minor >= 18);
const source = new URL("./bin.ts", import.meta.url);
const built = new URL("../../dist/host/cli/bin.js", import.meta.url);
const ownNode = fileURLToPath(new URL("../../node_modules/.bin/node", import.meta.url));

if (!existsSync(source)) {
  await import(built.href);
} else if (runsTypeScript) {
  await import(source.href);
} else if (existsSync(ownNode)) {
  const self = fileURLToPath(import.meta.url);
  const { status } = spawnSync(ownNode, [self, ...process.argv.slice(2)], { stdio: "inherit" });
  process.exitCode = status ?? 1;
} else {
  process.stderr.write(`millrace: Node ${process.versions.node} is too old; use Node 22.18 or later\n`);
  process.exitCode = 1;
}
