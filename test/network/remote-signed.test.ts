import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { REPOSITORY_ROOT } from "../support/node-process.ts";
import {
  configState,
  documentOf,
  queriesOf,
  remoteEdge,
  startRemoteHub,
  stateOf,
} from "../support/remote-fleet.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const CLI = join(REPOSITORY_ROOT, "host/cli/bin.js");

function run(...args: string[]): string {
  return execFileSync(process.execPath, [CLI, ...args], { encoding: "utf8" }).trim();
}

test("with a public key, an edge takes what was signed for it, and nothing older", async (context) => {
  const dir = makeTempDir(context);
  const [key, other] = [join(dir, "fleet.pem"), join(dir, "other.pem")];
  const publicKey = run("sign-config", "--new-key", key);
  run("sign-config", "--new-key", other);
  assert.throws(() => run("sign-config", "--new-key", key), "a key is never written over");
  const sign = (document: string, scope: string, number: number, by = key): Record<string, string> => {
    const file = join(dir, "signed.yaml");
    writeFileSync(file, document);
    const lines = run("sign-config", file, "--key", by, "--for", scope, "--number", String(number)).split(
      "\n",
    );
    return Object.fromEntries(lines.map((line) => line.split(": ") as [string, string]));
  };
  const { client: hub, url } = await startRemoteHub(context);
  const { edge, client } = remoteEdge(
    "press-1",
    url,
    context,
    `every: 200ms, watch: 1s, publicKey: "${publicKey}"`,
  );
  await edge.start();
  const put = async (document: string, headers: Record<string, string>, path = "/v1/config/press-1") => {
    const answer = await hub.request("PUT", path, document, headers);
    assert.equal(answer.status, 200, answer.text);
  };
  const refused = async (version: number, why: RegExp): Promise<void> => {
    const { report } = await configState(hub, "press-1", stateOf(version, "refused"));
    assert.match(report?.reason ?? "", why);
  };
  await put(documentOf("one"), {});
  await refused(1, /not signed/);
  await put(documentOf("one"), sign(documentOf("one"), "edge:press-1", 2, other));
  await refused(2, /signature is not that of/);
  await put(documentOf("one"), sign(documentOf("one"), "edge:press-2", 3));
  await refused(3, /signature is not that of/);
  await put(documentOf("another"), sign(documentOf("one"), "edge:press-1", 4));
  await refused(4, /signature is not that of/);
  await put(documentOf("five"), sign(documentOf("five"), "edge:press-1", 5));
  await configState(hub, "press-1", stateOf(5, "applied"));
  assert.deepEqual(await queriesOf(client), ["five"]);
  const again = await hub.request(
    "PUT",
    "/v1/config/press-1",
    documentOf("one"),
    sign(documentOf("one"), "edge:press-1", 5),
  );
  assert.equal(again.status, 409);

  // A hub that gives out what was in force once: here, of another database.
  const { client: evil, url: evilUrl } = await startRemoteHub(context);
  await evil.request(
    "PUT",
    "/v1/config/press-1",
    documentOf("old"),
    sign(documentOf("old"), "edge:press-1", 4),
  );
  const config = `
node: { id: press-1 }
checkpoint: { every: 10s }
streams:
  machines: { key: device, time: { field: ts, unit: ms }, watermark: { bound: 1s, maxAhead: 36500d } }
sync: { url: "${evilUrl}", config: { every: 200ms, watch: 1s, publicKey: "${publicKey}" }, batch: { every: 200ms } }
`;
  writeFileSync(edge.configFile, config);
  process.kill(edge.pid, "SIGHUP");
  const { report } = await configState(evil, "press-1", ({ report: found }) =>
    /older than version 5/.test(found?.reason ?? ""),
  );
  assert.equal(report?.state, "refused");
  assert.deepEqual(await queriesOf(client), ["five"], "the file's new address holds, the hub's queries stay");
  await edge.restart("SIGKILL");
  assert.deepEqual(await queriesOf(client), ["five"]);
});
