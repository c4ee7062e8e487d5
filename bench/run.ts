import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type BenchOptions, type BenchReport, describeMachine, formatTable } from "./report.ts";
import { isResultName, keepResult, RESULTS_FOLDER } from "./support/kept-results.ts";
import { watchNeighbours } from "./support/neighbours.ts";
import { planWholeSet, runWholeSet } from "./support/whole-set.ts";

/** The files of this folder that are not benches themselves. */
const NOT_BENCHES = new Set(["run.ts", "report.ts"]);
const USAGE = `usage: npm run bench -- NAME [--seconds N] [--json FILE] [--keep [AS]] [--setting value …]
       npm run bench -- all [--keep] [--only A,B] [--except A,B] [--setting value …]
--keep writes bench/results/NAME.json, or AS.json (--results FOLDER: elsewhere), unless the run failed`;
/** Above it, figures are not those of a quiet machine. */
const QUIET_CORES = 0.1;
/** Settings of this program: no bench's. */
const OWN_SETTINGS = new Set(["json", "keep", "results", "only", "except"]);

interface BenchModule {
  run(options: BenchOptions): Promise<BenchReport>;
}

interface Arguments {
  readonly name: string;
  readonly settings: ReadonlyMap<string, string>;
}

function benchNames(): string[] {
  const folder = fileURLToPath(new URL(".", import.meta.url));
  return readdirSync(folder)
    .filter((file) => file.endsWith(".ts") && !NOT_BENCHES.has(file))
    .map((file) => file.slice(0, -3));
}

function fail(message: string): never {
  process.stderr.write(`${message}\n${USAGE}\nbenches: ${benchNames().join(", ")}\n`);
  process.exit(1);
}

/** `--name value` pairs become settings. */
function readArguments(): Arguments {
  const { tokens } = parseArgs({ strict: false, allowPositionals: true, tokens: true });
  const settings = new Map<string, string>();
  let name: string | null = null;
  let pending: string | null = null;
  for (const token of tokens) {
    if (token.kind === "option") {
      pending = token.name;
      settings.set(token.name, token.value ?? "");
      if (token.value !== undefined) pending = null;
    } else if (token.kind === "positional") {
      if (pending !== null) settings.set(pending, token.value);
      else name ??= token.value;
      pending = null;
    }
  }
  if (name === null) fail("which bench? It stands in front of its settings");
  return { name, settings };
}

/** What the bench is told. */
function optionsOf(settings: ReadonlyMap<string, string>): BenchOptions {
  const secondsText = settings.get("seconds");
  const seconds = secondsText === undefined ? null : Number(secondsText);
  if (seconds !== null && !(seconds > 0)) fail("--seconds takes a number greater than 0");
  return { seconds, settings };
}

async function runOne({ name, settings }: Arguments): Promise<void> {
  const file = new URL(`./${name}.ts`, import.meta.url);
  if (!benchNames().includes(name) || !existsSync(file)) fail(`there is no bench ${name}`);
  const options = optionsOf(settings);
  const keepAs = settings.has("keep") ? settings.get("keep") || name : null;
  if (keepAs !== null && !isResultName(keepAs)) {
    fail("--keep takes a name of lower-case letters, digits and dashes");
  }
  const bench = (await import(file.href)) as BenchModule;
  const machine = describeMachine();
  const neighbours = watchNeighbours();
  const startedMs = performance.now();
  const report = await bench.run(options);
  const tookSeconds = Number(((performance.now() - startedMs) / 1_000).toFixed(1));
  const meanwhile = neighbours();
  const failures = report.failures ?? [];
  const lines = [
    `${report.name} · ${machine.date}`,
    `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.os}`,
    `Node ${machine.node}, ${machine.sqlite}, Millrace ${machine.millrace} (${machine.commit})`,
    "",
    formatTable(report.rows),
    "",
    ...(report.notes ?? []),
    ...(meanwhile === null ? [] : [describeNeighbours(meanwhile)]),
    ...failures.map((failure) => `FAILED: ${failure}`),
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
  const result = { machine, command: commandOf(name, settings), tookSeconds, meanwhile, ...report };
  const jsonFile = settings.get("json");
  const json = JSON.stringify(result, null, 2);
  if (jsonFile !== undefined) writeFileSync(jsonFile, `${json}\n`);
  if (keepAs === null && jsonFile === undefined) process.stdout.write(`\n${json}\n`);
  if (failures.length > 0) process.exitCode = 1;
  if (keepAs === null) return;
  const folder = settings.get("results") ?? RESULTS_FOLDER;
  process.stdout.write(
    failures.length > 0 ? "not kept: the run failed\n" : `kept: ${keepResult(folder, keepAs, result)}\n`,
  );
}

function describeNeighbours({
  othersCores,
  stolenCores,
}: {
  othersCores: number;
  stolenCores: number;
}): string {
  const taken = `others took ${othersCores} cores meanwhile, other machines ${stolenCores}`;
  return othersCores + stolenCores > QUIET_CORES ? `${taken}: not a quiet machine` : taken;
}

/** As it is typed to repeat the run. */
function commandOf(name: string, settings: ReadonlyMap<string, string>): string {
  const given = [...settings]
    .filter(([setting]) => !OWN_SETTINGS.has(setting))
    .map(([setting, value]) => (value === "" ? `--${setting}` : `--${setting} ${value}`));
  return ["npm run bench --", name, ...given].join(" ");
}

async function runAll(settings: ReadonlyMap<string, string>): Promise<void> {
  const listOf = (setting: string): string[] | null => settings.get(setting)?.split(",") ?? null;
  const benches = benchNames();
  const unknown = [...(listOf("only") ?? []), ...(listOf("except") ?? [])].filter(
    (name) => !benches.includes(name),
  );
  if (unknown.length > 0) fail(`there is no bench ${unknown.join(", ")}`);
  const extra = [...settings]
    .filter(([setting]) => !OWN_SETTINGS.has(setting))
    .flatMap(([setting, value]) => (value === "" ? [`--${setting}`] : [`--${setting}`, value]));
  const results = settings.get("results");
  const keep = (name: string): string[] =>
    settings.has("keep") ? ["--keep", name, ...(results === undefined ? [] : ["--results", results])] : [];
  const runs = planWholeSet(benches, listOf("only"), listOf("except") ?? []);
  const outcomes = await runWholeSet(runs, ({ name }) => [...extra, ...keep(name)]);
  const table = outcomes.map(({ name, tookSeconds, failure }) => ({
    bench: name,
    seconds: tookSeconds,
    outcome: failure ?? "ok",
  }));
  process.stdout.write(`\n${formatTable(table)}\n`);
  const failed = outcomes.filter(({ failure }) => failure !== null);
  if (failed.length === 0) return;
  process.stdout.write(`FAILED: ${failed.map(({ name }) => name).join(", ")}\n`);
  process.exitCode = 1;
}

const given = readArguments();
if (given.name === "all") await runAll(given.settings);
else await runOne(given);
