import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type BenchOptions, type BenchReport, describeMachine, formatTable } from "./report.ts";

/** The files of this folder that are not benches themselves. */
const NOT_BENCHES = new Set(["run.ts", "report.ts"]);
const USAGE = "usage: npm run bench -- NAME [--seconds N] [--json FILE] [--setting value …]";

interface BenchModule {
  run(options: BenchOptions): Promise<BenchReport>;
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
function readArguments(): { name: string; options: BenchOptions; jsonFile: string | null } {
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
  if (name === null) fail("which bench?");
  const secondsText = settings.get("seconds");
  const seconds = secondsText === undefined ? null : Number(secondsText);
  if (seconds !== null && !(seconds > 0)) fail("--seconds takes a number greater than 0");
  return { name, options: { seconds, settings }, jsonFile: settings.get("json") ?? null };
}

const { name, options, jsonFile } = readArguments();
const file = new URL(`./${name}.ts`, import.meta.url);
if (!benchNames().includes(name) || !existsSync(file)) fail(`there is no bench ${name}`);
const bench = (await import(file.href)) as BenchModule;
const machine = describeMachine();
const report = await bench.run(options);
const failures = report.failures ?? [];
const lines = [
  `${report.name} · ${machine.date}`,
  `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.os}`,
  `Node ${machine.node}, ${machine.sqlite}, Millrace ${machine.millrace} (${machine.commit})`,
  "",
  formatTable(report.rows),
  "",
  ...(report.notes ?? []),
  ...failures.map((failure) => `FAILED: ${failure}`),
];
process.stdout.write(`${lines.join("\n")}\n`);
const json = JSON.stringify({ machine, ...report }, null, 2);
if (jsonFile === null) process.stdout.write(`\n${json}\n`);
else writeFileSync(jsonFile, `${json}\n`);
if (failures.length > 0) process.exitCode = 1;
