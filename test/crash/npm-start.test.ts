import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { type TestContext, test } from "node:test";
import { REPOSITORY_ROOT } from "../support/node-process.ts";
import { makeTempDir } from "../support/temp-dir.ts";

interface Started {
  readonly child: ChildProcess;
  readonly url: string;
  /** Lines of its output; it ends when nobody holds the pipe any more: when the node is gone. */
  readonly end: Promise<readonly string[]>;
}

/** Starts a node behind other processes, as people and supervisors do, and waits until it listens. */
async function start(
  context: TestContext,
  command: string,
  args: readonly string[],
  environment: NodeJS.ProcessEnv = {},
): Promise<Started> {
  const child = spawn(command, args, {
    cwd: REPOSITORY_ROOT,
    detached: true,
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, ...environment },
  });
  const group = child.pid!;
  let isOver = false;
  context.after(() => {
    if (!isOver) process.kill(-group, "SIGKILL");
  });
  const lines: string[] = [];
  let tell: (url: string) => void = () => undefined;
  const listening = new Promise<string>((resolve) => {
    tell = resolve;
  });
  const end = (async () => {
    for await (const line of createInterface({ input: child.stdout! })) {
      lines.push(line);
      if (line.includes('"msg":"listening"')) tell((JSON.parse(line) as { url: string }).url);
    }
    isOver = true;
    tell("");
    return lines;
  })();
  const url = await listening;
  assert.notEqual(url, "", lines.join("\n"));
  return { child, url, end };
}

async function assertGone({ url, end }: Started): Promise<readonly string[]> {
  const lines = await end;
  await assert.rejects(fetch(`${url}/healthz`));
  return lines;
}

const argumentsOf = (dataDir: string): string[] => ["--data", dataDir, "--listen", "127.0.0.1:0"];

test("npm start hands SIGTERM on: the node drains and exits with 0", async (context) => {
  const data = join(makeTempDir(context), "data");
  const started = await start(context, "npm", ["start", "--", ...argumentsOf(data)]);
  const exited = once(started.child, "exit");
  started.child.kill("SIGTERM");
  assert.deepEqual((await exited)[0], 0);
  assert.match((await assertGone(started)).at(-1)!, /"msg":"stopped"/);
});

test("when npm is killed, so is the node that it started, and the next one finds data and port free", async (context) => {
  const data = join(makeTempDir(context), "data");
  const started = await start(context, "npm", ["start", "--", ...argumentsOf(data)]);
  started.child.kill("SIGKILL");
  assert.doesNotMatch((await assertGone(started)).at(-1)!, /"msg":"stopped"/);
  const next = await start(context, "npm", ["start", "--", ...argumentsOf(data)]);
  next.child.kill("SIGTERM");
  await assertGone(next);
});

test("the shell of npx hands no signal on: the node drains once it is gone", async (context) => {
  const data = join(makeTempDir(context), "data");
  const script = `node host/cli/bin.js start ${argumentsOf(data).join(" ")}; true`;
  const started = await start(context, "sh", ["-c", script], { npm_lifecycle_event: "npx" });
  started.child.kill("SIGTERM");
  assert.match((await assertGone(started)).at(-1)!, /"msg":"stopped"/);
});
