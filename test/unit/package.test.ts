import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { START_ENVIRONMENT, START_FLAGS } from "../../host/cli/node-flags.ts";
import { HttpClient } from "../support/http-client.ts";
import { REPOSITORY_ROOT, spawnNode } from "../support/node-process.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const isBuilt = existsSync(join(REPOSITORY_ROOT, "dist/host/cli/bin.js"));
const skip = !isBuilt && "there is no compiled form: run npm run build:js";

test("npm start, the installed command and a Node that hands over start with the flags that tests and benches use", () => {
  const assignments = Object.entries(START_ENVIRONMENT).map((pair) => pair.join("="));
  const command = (node: string): string => [...assignments, node, ...START_FLAGS].join(" ");
  const { scripts } = JSON.parse(readFileSync(join(REPOSITORY_ROOT, "package.json"), "utf8")) as {
    scripts: Record<string, string>;
  };
  assert.equal(scripts["start"], `${command("exec node")} host/cli/bin.js start`);
  const bin = readFileSync(join(REPOSITORY_ROOT, "host/cli/bin.js"), "utf8");
  assert.equal(bin.split("\n")[0], `#!/usr/bin/env -S ${command("node")}`);
  const flags = START_FLAGS.map((flag) => JSON.stringify(flag)).join(", ");
  assert.ok(bin.includes(`MEMORY_FLAGS = [${flags}]`));
  for (const [name, value] of Object.entries(START_ENVIRONMENT))
    assert.ok(bin.includes(`${name}: ${JSON.stringify(value)}`));
});

test("the package as published takes an event and gives it back", { skip }, async (context) => {
  const folder = makeTempDir(context);
  execFileSync("npm", ["pack", "--ignore-scripts", "--silent", "--pack-destination", folder], {
    cwd: REPOSITORY_ROOT,
  });
  const [tarball = ""] = readdirSync(folder);
  execFileSync("tar", ["-xzf", join(folder, tarball), "-C", folder]);
  const installed = join(folder, "node_modules/millrace");
  mkdirSync(join(folder, "node_modules"));
  renameSync(join(folder, "package"), installed);
  symlinkSync(join(REPOSITORY_ROOT, "node_modules"), join(installed, "node_modules"));
  const contents = readdirSync(installed, { recursive: true, encoding: "utf8" });
  assert.deepEqual(
    contents.filter((file) => file.endsWith(".ts") && !file.startsWith("node_modules")),
    [],
  );
  const child = spawn(
    process.execPath,
    [join(installed, "host/cli/bin.js"), "--data", join(folder, "data"), "--listen", "127.0.0.1:0"],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  context.after(() => child.kill("SIGKILL"));
  const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
  const { url } = JSON.parse(line) as { url: string };
  const events = `${url}/v1/streams/s/events`;
  const headers = { "content-type": "application/x-ndjson" };
  const answer = await fetch(events, {
    method: "POST",
    headers,
    body: '{"device":"m1","ts":1000,"temp":20.5}',
  });
  assert.equal(answer.status, 200);
  const stored = JSON.parse(await (await fetch(events)).text()) as unknown;
  assert.deepEqual(stored, { device: "m1", ts: "1970-01-01T00:16:40.000Z", temp: 20.5 });
  child.kill("SIGTERM");
  assert.deepEqual(await once(child, "exit"), [0, null]);
});

test("a node goes on while the compiled form is made anew: what it has not loaded yet is there at any moment", {
  skip,
}, async (context) => {
  for (let round = 0; round < 3; round++) {
    const node = await spawnNode({ config: null }, context);
    const client = new HttpClient(() => node.url);
    context.after(() => client.close());
    const bundling = spawn(process.execPath, [join(REPOSITORY_ROOT, "deploy/bundle.ts")], {
      stdio: "inherit",
    });
    const ended = once(bundling, "exit");
    await sleep(round * 300);
    // The first question that is not about events loads what answers it.
    assert.equal((await client.request("GET", "/v1/status")).status, 200);
    assert.deepEqual(await ended, [0, null]);
    await node.stop();
  }
});
