import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { REPOSITORY_ROOT } from "../support/node-process.ts";
import { type Cleanup, makeTempDir } from "../support/temp-dir.ts";

/** A Node that cannot run TypeScript, where the machine has one. */
const oldNode = [...(process.env.PATH ?? "").split(delimiter), "/usr/bin"]
  .map((folder) => join(folder, "node"))
  .find(
    (file) => existsSync(file) && Number(/^v(\d+)/.exec(execFileSync(file, ["-v"]).toString())?.[1]) < 22,
  );
const skip = oldNode === undefined && "there is no Node older than 22 on this machine";

/** `millrace send` on the old Node: it waits for stdin. */
function waiting(cleanup: Cleanup): ChildProcess {
  const child = spawn(oldNode ?? "", [join(REPOSITORY_ROOT, "host/cli/bin.js"), "send", "s"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  cleanup.after(() => void child.kill("SIGKILL"));
  return child;
}

/** Waits until the Node that was handed over to runs, and gives its id. */
async function successor(parent: ChildProcess): Promise<number> {
  while (true) {
    const found = execFileSync("sh", ["-c", `ps --ppid ${parent.pid} -o pid= || true`])
      .toString()
      .trim();
    if (found !== "") return Number(found);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test("an old Node hands over, and the exit code comes back", { skip }, () => {
  const file = join(REPOSITORY_ROOT, "host/cli/bin.js");
  assert.match(execFileSync(oldNode ?? "", [file, "--version"]).toString(), /^\d+\.\d+\.\d+\n$/);
  assert.throws(
    () => execFileSync(oldNode ?? "", [file, "check", "-c", "/nowhere.yaml"], { stdio: "pipe" }),
    (thrown) => thrown instanceof Error && "status" in thrown && thrown.status === 1,
  );
});

test("a signal goes on to the Node that was handed over to", { skip }, async (context) => {
  const parent = waiting(context);
  await successor(parent);
  // stdout closes when nobody holds it any more: both are gone.
  const gone = once(parent, "close");
  parent.kill("SIGTERM");
  assert.deepEqual(await gone, [null, "SIGTERM"]);
});

test("kill -9 of the first leaves no second behind", { skip }, async (context) => {
  const parent = waiting(context);
  await successor(parent);
  const gone = once(parent, "close");
  parent.kill("SIGKILL");
  await gone;
});

/** Ends by itself, or goes on to be told to. */
function startWithSignal(
  cleanup: Cleanup,
  command: readonly string[],
  signal: NodeJS.Signals,
): { child: ChildProcess; lines: () => string } {
  const dir = makeTempDir(cleanup);
  const preload = join(REPOSITORY_ROOT, "test/support/early-signal.js");
  const child = spawn(
    process.execPath,
    [
      "--import",
      preload,
      join(REPOSITORY_ROOT, "host/cli/bin.js"),
      ...command,
      "--data",
      join(dir, "data"),
      "--listen",
      "127.0.0.1:0",
    ],
    { cwd: dir, stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, EARLY_SIGNAL: signal } },
  );
  let text = "";
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (data) => (text += String(data)));
  cleanup.after(() => void child.kill("SIGKILL"));
  return { child, lines: () => text };
}

for (const command of [[], ["start"], ["hub"]]) {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    test(`${signal} before anything is loaded ends \`millrace ${command.join("")}\` with 0`, async (context) => {
      const { child, lines } = startWithSignal(context, command, signal);
      assert.deepEqual(await once(child, "close"), [0, null], lines());
    });
  }
}

for (const command of ["start", "hub"]) {
  test(`SIGHUP, early or late, does not end \`millrace ${command}\``, async (context) => {
    const { child, lines } = startWithSignal(context, [command], "SIGHUP");
    const gone = once(child, "close");
    const said = async (text: string): Promise<void> => {
      while (!lines().includes(text)) {
        assert.deepEqual([child.exitCode, child.signalCode], [null, null], lines());
        await sleep(20);
      }
    };
    await said('"listening"');
    child.kill("SIGHUP");
    await said(command === "hub" ? "reads its configuration at its start alone" : "configuration changed");
    child.kill("SIGTERM");
    assert.deepEqual(await gone, [0, null]);
  });
}
