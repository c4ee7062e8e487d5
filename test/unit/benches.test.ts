import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { BenchOptions, BenchReport } from "../../bench/report.ts";
import type { KeptResult } from "../../bench/support/kept-results.ts";
import { planWholeSet } from "../../bench/support/whole-set.ts";
import { REPOSITORY_ROOT } from "../support/node-process.ts";
import { makeTempDir } from "../support/temp-dir.ts";

/** Benches at lengths at which their figures mean nothing, but everything in them runs. */
const SHORTEST: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "100k": { rate: "1000", batch: "10", devices: "20", seconds: "2.5", warmup: "0.5", window: "1" },
  codec: { events: "600", batch: "200", seconds: "0.001" },
  idle: { form: "source", starts: "1", seconds: "0.5", settle: "0.1" },
  latency: { rates: "500,2000", devices: "20", seconds: "2.5", warmup: "0.5", window: "1" },
  memory: { part: "footprint", streams: "1,3", queries: "2" },
  parse: { seconds: "0.01" },
  scale: { ingest: "1,2", seconds: "0.5", warmup: "0.2" },
};
/** Longer ones, or covered by tests of what they measure: with MILLRACE_BENCHES=all. */
const LONGER: typeof SHORTEST = {
  aggregates: { seconds: "0.1" },
  expression: { seconds: "0.01" },
  guard: { rounds: "2", seconds: "0.3" },
  memory: { part: "keys", keys: "1000" },
  outage: { hours: "2", scale: "0.02" },
  pipeline: { seconds: "0.5" },
  recovery: { events: "20000" },
  query: { events: "50000", seconds: "0.3" },
  relay: { events: "20000" },
  small: { connections: "2", seconds: "0.3" },
  soak: { seconds: "4", rate: "5000" },
  sync: { events: "20000" },
};
const RUNS = [
  ...Object.entries(SHORTEST),
  ...(process.env["MILLRACE_BENCHES"] === "all" ? Object.entries(LONGER) : []),
];
const RUN_FILE = join(REPOSITORY_ROOT, "bench/run.ts");

/** From /proc, which other systems do not have. */
describe("benches", { skip: process.platform !== "linux" }, () => {
  for (const [name, settings] of RUNS) {
    it(`${name} finds finite numbers, and that nothing failed`, async () => {
      const file = new URL(`../../bench/${name}.ts`, import.meta.url);
      const bench = (await import(file.href)) as { run(options: BenchOptions): Promise<BenchReport> };
      const seconds = settings["seconds"] === undefined ? null : Number(settings["seconds"]);
      const report = await bench.run({ seconds, settings: new Map(Object.entries(settings)) });
      assert.deepEqual(report.failures ?? [], []);
      assert.equal(report.name, name);
      assertFinite(report.rows);
    });
  }
});

describe("kept results", () => {
  it("are those of runs that went well, with what it takes to judge and repeat them", (context) => {
    const folder = makeTempDir(context);
    const { status, stdout } = runBenches(
      ["all", "--only", "codec,latency", "--keep", "--results", folder],
      // `latency` refuses the rates; `codec` does not look at them.
      ["--events", "400", "--seconds", "0.001", "--rates", "none"],
    );
    assert.equal(status, 1);
    assert.match(stdout, /^FAILED: latency$/m);
    assert.deepEqual(readdirSync(folder), ["codec.json"]);
    const kept = JSON.parse(readFileSync(join(folder, "codec.json"), "utf8")) as KeptResult;
    assert.equal(kept.name, "codec");
    assertFinite(kept.rows);
    assert.equal(kept.command, "npm run bench -- codec --events 400 --seconds 0.001 --rates none");
    assert.ok(kept.tookSeconds > 0);
    assert.ok(!Number.isNaN(Date.parse(kept.machine.date)));
    for (const text of [kept.machine.commit, kept.machine.node, kept.machine.cpu, kept.machine.sqlite])
      assert.notEqual(text, "");
    if (process.platform === "linux") assert.ok((kept.meanwhile?.othersCores ?? -1) >= 0);
  });

  it("bear the name that they are given", (context) => {
    const folder = makeTempDir(context);
    const short = ["--events", "400", "--seconds", "0.001", "--results", folder];
    assert.equal(runBenches(["codec", ...short, "--keep", "codec-short"]).status, 0);
    assert.deepEqual(readdirSync(folder), ["codec-short.json"]);
    const { status, stderr } = runBenches(["codec", ...short, "--keep", "../codec"]);
    assert.equal(status, 1);
    assert.match(stderr, /--keep takes a name/);
    assert.ok(!existsSync(join(folder, "../codec.json")));
  });

  it("are of every bench, each under a name of its own", () => {
    const benches = readdirSync(join(REPOSITORY_ROOT, "bench"))
      .filter((file) => file.endsWith(".ts") && file !== "run.ts" && file !== "report.ts")
      .map((file) => file.slice(0, -3));
    const runs = planWholeSet(benches, null, ["chaos"]);
    const names = runs.map(({ name }) => name);
    assert.equal(new Set(names).size, names.length);
    const left = benches.filter((bench) => !runs.some((run) => run.bench === bench));
    assert.deepEqual(left.toSorted(), ["chaos", "plain-way"]);
    assert.deepEqual(planWholeSet(benches, ["plain-way"], []).length, 1);
  });
});

function runBenches(...args: readonly (readonly string[])[]): {
  status: number | null;
  stdout: string;
  stderr: string;
} {
  return spawnSync(process.execPath, [RUN_FILE, ...args.flat()], { encoding: "utf8" });
}

function assertFinite(rows: BenchReport["rows"]): void {
  assert.ok(rows.length > 0, "no rows");
  for (const row of rows) {
    const numbers = Object.entries(row).filter(([, value]) => typeof value === "number");
    assert.ok(numbers.length > 0, `no numbers in ${JSON.stringify(row)}`);
    for (const [column, value] of numbers) assert.ok(Number.isFinite(value), `${column} is ${value}`);
  }
}
