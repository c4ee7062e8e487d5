#!/usr/bin/env -S MALLOC_ARENA_MAX=1 node --max-semi-space-size=1 --no-node-snapshot --no-short-builtin-calls
// Starts the command line: its compiled form where that is up to date, else the TypeScript itself, which costs 60 MB of
// memory more and a second. `npm ci` brings a Node along that can; where an older one is first in PATH, this hands over
// to it. This file itself runs on any Node.
import { spawn } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";

const HANDED_OVER = "MILLRACE_HANDED_OVER";
const NPM_WATCH_MS = 100;
/**
 * As in package.json's `start` and in the line above. Small young generations; threads that start without the snapshot of
 * Node's own heap, of which each would keep 2 MB; without a second mapping of V8's built-in functions for each, 2 MB too (V8 itself
 * does without where memory is below 4 GiB); and one arena of the C library for all threads, where each would keep its own free
 * memory. At 100,000 events/s RSS is 65 MB less, and the rate the same.
 */
const MEMORY_FLAGS = ["--max-semi-space-size=1", "--no-node-snapshot", "--no-short-builtin-calls"];
const MEMORY_ENVIRONMENT = { MALLOC_ARENA_MAX: "1" };
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
const runsTypeScript = major > 23 || (major === 23 && minor >= 6) || (major === 22 && minor >= 18);
const hasTypeScriptFlag = major === 23 || (major === 22 && minor >= 15);
// Node runs no TypeScript below node_modules; the published package carries compiled files.
const isInstalled = import.meta.url.includes("/node_modules/");
const source = new URL("./bin.ts", import.meta.url);
const compiled = new URL("../../dist/host/cli/bin.js", import.meta.url);
const root = new URL("../../", import.meta.url);
/** The sources of the compiled form, by name; deploy/bundle.ts writes it. */
const built = new URL("dist/.built", root);
const ownNode = fileURLToPath(new URL("../../node_modules/.bin/node", import.meta.url));
/** A node (`start` may be left out) or a hub: signals mean the same to them from their first moment on. */
const runsOn = /^(start|hub|-.*)?$/.test(process.argv[2] ?? "");

if (runsOn) heedSignals();
if (process.env[HANDED_OVER] !== undefined) dieWithParent();
else if (isRunBy("npx")) endWithNpm("SIGTERM");
else if (isRunBy("start")) endWithNpm("SIGKILL");
if (isInstalled || !existsSync(source)) await import(compiled.href);
else if (runsTypeScript) await import((isCompiled() ? compiled : source).href);
else if (existsSync(ownNode)) handOver(ownNode, MEMORY_FLAGS);
else if (hasTypeScriptFlag) {
  handOver(process.execPath, [
    ...MEMORY_FLAGS,
    "--experimental-strip-types",
    "--disable-warning=ExperimentalWarning",
  ]);
} else {
  process.stderr.write(`millrace: Node ${process.versions.node} is too old; use Node 22.18 or later\n`);
  process.exitCode = 1;
}

/**
 * Whether the compiled form is of these sources: none has gone, or is younger than the last build. Folders are not looked through, which
 * would cost 5 MB: a source that is new is imported by one that has changed.
 */
function isCompiled() {
  if (!existsSync(built)) return false;
  const builtMs = statSync(built).mtimeMs;
  const folder = fileURLToPath(root);
  for (const file of readFileSync(built, "utf8").split("\n")) {
    const stat = statSync(folder + file, { throwIfNoEntry: false });
    if (stat === undefined || stat.mtimeMs > builtMs) return false;
  }
  return true;
}

/**
 * While the program is still read, a signal that ends it does so with 0, as it does later in the start; and SIGHUP does nothing, for
 * the configuration is read after this. Once another listens, this one is silent.
 */
function heedSignals() {
  for (const signal of ["SIGTERM", "SIGINT"]) {
    process.on(signal, () => {
      if (process.listenerCount(signal) === 1) process.exit(0);
    });
  }
  process.on("SIGHUP", () => {});
}

/** Runs this file on another Node, which gets every signal and whose end is this one's end. */
function handOver(node, flags) {
  const child = spawn(node, [...flags, fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    stdio: ["inherit", "inherit", "inherit", "ipc"],
    env: { ...process.env, ...MEMORY_ENVIRONMENT, [HANDED_OVER]: "1" },
  });
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("error", (cause) => {
    process.stderr.write(`millrace: ${node} cannot be started: ${cause.message}\n`);
    process.exit(1);
  });
  child.on("exit", (code, signal) => {
    if (signal === null) process.exit(code ?? 1);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}

/**
 * Whoever kills npm must not be left with a node that holds the data and the port. `npm start` runs this in the place of its
 * shell and hands SIGTERM on, so that only a kill takes it away; the shell of npx dies of SIGTERM and hands nothing on.
 */
function endWithNpm(signal) {
  const parent = process.ppid;
  const watch = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(watch);
    process.kill(process.pid, signal);
  }, NPM_WATCH_MS);
  watch.unref();
}

/** The `start` of another package may have put this into the background and be over. */
function isRunBy(event) {
  const { npm_lifecycle_event, npm_package_name } = process.env;
  return npm_lifecycle_event === event && (event === "npx" || npm_package_name === "millrace");
}

/** Whoever kills the Node that was started must not be left with one that still runs. */
function dieWithParent() {
  delete process.env[HANDED_OVER];
  const die = () => process.kill(process.pid, "SIGKILL");
  if (!process.connected) die();
  process.on("disconnect", die);
  process.channel?.unref();
}
