import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { diagnose } from "../../workers/store/repair/doctor.ts";
import { HttpClient } from "../support/http-client.ts";
import { EventClock, LoadClient } from "../support/load.ts";
import { NodeProcess } from "../support/node-process.ts";
import { buildPowerShim, PowerlessDisk } from "../support/power-loss.ts";
import { Random } from "../support/random.ts";
import { makeTempDir } from "../support/temp-dir.ts";
import { loadConfig, verifyLoad } from "../support/verify-load.ts";

const CUTS = Number(process.env.MILLRACE_POWER_CUTS ?? 8);
const CLIENTS = 3;
const WRITER = `
  const { closeSync, fsyncSync, openSync, writeSync } = require("node:fs");
  const dir = process.argv[1];
  for (const name of ["synced", "unsynced"]) {
    const fd = openSync(dir + "/" + name, "w");
    writeSync(fd, name[0].repeat(20000));
    if (name === "synced") fsyncSync(fd);
    closeSync(fd);
    if (name === "synced") fsyncSync(openSync(dir, "r"));
  }
`;
/** Changes to files until the cut: from the making of the database to a few seconds of load. */
const MOST_CHANGES = 3_000;

test(`${CUTS} times the power is cut: what was acknowledged is there once, and the books balance`, async (context) => {
  const shim = buildPowerShim(context);
  if ("missing" in shim) return context.skip(shim.missing);
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const dir = makeTempDir(context);
  const dataDir = join(dir, "data");
  const journal = join(dir, "journal");
  const config = loadConfig("300ms");
  let node: NodeProcess | null = null;
  const client = new HttpClient(() => {
    if (node === null) throw new Error("the node is down");
    return node.url;
  });
  context.after(() => client.close());
  const clock = new EventClock(Date.UTC(2026, 0, 1), 5);
  const clients = Array.from({ length: CLIENTS }, (_, index) => {
    const options = { stream: "load", name: `client-${index}`, eventsPerBatch: 40 };
    return new LoadClient({ ...options, client, clock, random: new Random(random.integer(0, 2 ** 31)) });
  });
  context.after(() => {
    for (const each of clients) each.stop();
  });
  let failure: unknown = null;
  const load = Promise.all(clients.map((each) => each.run())).catch((cause: unknown) => {
    failure = cause;
    for (const each of clients) each.stop();
  });
  let changes = 0;
  for (let round = 0; round < CUTS && failure === null; round++) {
    const disk = new PowerlessDisk(dataDir);
    rmSync(journal, { force: true });
    const cutAt = Math.ceil(MOST_CHANGES ** random.next());
    const environment = {
      LD_PRELOAD: shim.library,
      POWER_DIR: dataDir,
      POWER_JOURNAL: journal,
      POWER_CUT_AT: String(cutAt),
    };
    const doomed = new NodeProcess({ config, dataDir, environment }, context);
    doomed.launch();
    node = doomed;
    assert.equal(await doomed.exited(), null, `it was killed, and did not end by itself:\n${doomed.tail()}`);
    disk.replay(journal);
    assert.equal(disk.changes > 0, true);
    changes += disk.changes;
    disk.cut(random);
    const look = await diagnose({
      dir: dataDir,
      masters: null,
      mode: "look",
      nowUs: Date.now() * 1000,
    }).catch((cause: unknown) => {
      // Cut before there was a database.
      if (cause instanceof Error && "code" in cause && cause.code === "E_NO_STORE") return null;
      throw cause;
    });
    const isBegun = look === null || look.findings.every(({ check }) => check === "release");
    assert.ok(isBegun, `cut at change ${cutAt}: ${JSON.stringify(look?.findings)}`);
  }
  const last = new NodeProcess({ config, dataDir }, context);
  await last.start();
  node = last;
  for (const each of clients) each.stop();
  await load;
  if (failure !== null) throw failure;
  const sent = clients.flatMap((each) => each.events);
  context.diagnostic(`${changes} changes to files, ${sent.length} events`);
  await verifyLoad(client, sent);
  await last.stop();
  const look = await diagnose({ dir: dataDir, masters: null, mode: "look", nowUs: Date.now() * 1000 });
  assert.deepEqual(look.findings, []);
  assert.equal(look.events, sent.length);
});

test("the shim does lose what was not synced, and keeps what was", async (context) => {
  const shim = buildPowerShim(context);
  if ("missing" in shim) return context.skip(shim.missing);
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const dir = makeTempDir(context);
  const dataDir = join(dir, "data");
  const journal = join(dir, "journal");
  const sizes = new Set<number>();
  let torn = 0;
  for (let round = 0; round < 30; round++) {
    rmSync(dataDir, { recursive: true, force: true });
    rmSync(journal, { force: true });
    const disk = new PowerlessDisk(dataDir);
    const environment = { LD_PRELOAD: shim.library, POWER_DIR: dataDir, POWER_JOURNAL: journal };
    spawnSync(process.execPath, ["-e", WRITER, dataDir], { env: { ...process.env, ...environment } });
    disk.replay(journal);
    disk.cut(random);
    assert.equal(readFileSync(join(dataDir, "synced"), "utf8"), "s".repeat(20_000));
    const file = join(dataDir, "unsynced");
    const content = existsSync(file) ? readFileSync(file, "utf8") : "";
    sizes.add(content.length);
    if (content.includes("u") && content !== "u".repeat(20_000)) torn++;
  }
  assert.ok(sizes.size >= 2, `${sizes.size} lengths of what was not synced`);
  assert.ok(torn > 0, "some of them torn");
});
