import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { promisify } from "node:util";
import { REPOSITORY_ROOT } from "../support/node-process.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const run = promisify(execFile);
const README_URL = "http://127.0.0.1:7070";

/** The tutorial's code blocks of a language, in order. */
function codeBlocks(language: string): string[] {
  const page = readFileSync(join(REPOSITORY_ROOT, "examples/nab-tutorial/README.md"), "utf8");
  return [...page.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)]
    .filter((match) => match[1] === language)
    .map((match) => match[2]!.trim());
}

const shell = (command: string): Promise<{ stdout: string; stderr: string }> =>
  run("sh", ["-c", command], { cwd: REPOSITORY_ROOT });

test("the tutorial's three commands do what it says", async (context) => {
  const [start, send, read, ...more] = codeBlocks("sh");
  assert.ok(start && send && read && more.length === 0, "the tutorial has three commands");
  // The tutorial's own folder and port may be in use here; everything else is as it stands on the page.
  const data = join(makeTempDir(context), "data");
  const node = spawn("sh", ["-c", `exec ${start} --data ${data} --listen 127.0.0.1:0`], {
    cwd: REPOSITORY_ROOT,
    detached: true,
    stdio: ["ignore", "pipe", "inherit"],
  });
  context.after(async () => {
    const ended = node.exitCode === null ? once(node, "exit") : null;
    process.kill(-node.pid!, "SIGKILL");
    await ended;
  });
  let url = "";
  for await (const line of createInterface({ input: node.stdout })) {
    if (!line.startsWith("{")) continue;
    const entry = JSON.parse(line) as { msg?: string; url?: string };
    if (entry.msg !== "listening") continue;
    url = entry.url ?? "";
    break;
  }
  node.stdout.resume();

  await shell(`${send} --url ${url}`);
  const answer = codeBlocks("json")[0];
  assert.equal((await shell(read.replaceAll(README_URL, url))).stdout.trim(), answer);
  // And the first thing to try: send again.
  await shell(`${send} --url ${url}`);
  assert.equal((await shell(read.replaceAll(README_URL, url))).stdout.trim(), answer);
  const stream = JSON.parse((await shell(`curl -s ${url}/v1/streams/traffic`)).stdout) as {
    accepted: number;
  };
  assert.equal(stream.accepted, 640, "every reading counts once");
});
