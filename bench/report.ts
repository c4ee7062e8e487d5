import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { availableParallelism, cpus, platform, release, totalmem } from "node:os";

/** What a bench is told. Every bench has its own defaults for what is null. */
export interface BenchOptions {
  /** Length of each measured stretch. */
  readonly seconds: number | null;
  /** Further `--name value` arguments. */
  readonly settings: ReadonlyMap<string, string>;
}

/** What a bench found: one row per measured thing. Rows may differ in their columns. */
export interface BenchReport {
  readonly name: string;
  readonly rows: readonly Readonly<Record<string, string | number>>[];
  /** Sentences for a reader: how it was measured, what to compare it with. */
  readonly notes?: readonly string[];
  /** Why the run is worthless (something lost, an answer wrong). Makes the command fail. */
  readonly failures?: readonly string[];
}

export interface Machine {
  readonly date: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly os: string;
  readonly node: string;
  readonly v8: string;
  readonly sqlite: string;
  readonly millrace: string;
  readonly commit: string;
}

export function describeMachine(): Machine {
  const root = new URL("..", import.meta.url);
  return {
    date: new Date().toISOString(),
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    os: `${platform()} ${release()} ${process.arch}`,
    node: process.version,
    v8: process.versions.v8,
    sqlite: `better-sqlite3 ${versionOf(new URL("node_modules/better-sqlite3/package.json", root))}`,
    millrace: versionOf(new URL("package.json", root)),
    commit: commitOf(root),
  };
}

function versionOf(file: URL): string {
  const { version } = JSON.parse(readFileSync(file, "utf8")) as { version: string };
  return version;
}

function commitOf(root: URL): string {
  try {
    const git = (...args: string[]): string =>
      execFileSync("git", args, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
    // Results that are kept in one run must not look like changes in the next.
    const changes = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!bench/results");
    const isClean = changes === "";
    return git("rev-parse", "--short", "HEAD") + (isClean ? "" : " with changes");
  } catch {
    return "not a checkout";
  }
}

/** A plain-text table; numbers to the right. Columns in order of first appearance. */
export function formatTable(rows: BenchReport["rows"]): string {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const cells = rows.map((row) => columns.map((column) => formatCell(row[column])));
  const widths = columns.map((column, index) =>
    Math.max(column.length, ...cells.map((line) => line[index]?.length ?? 0)),
  );
  const isNumeric = columns.map((column) => rows.every((row) => typeof row[column] !== "string"));
  const format = (line: readonly string[]): string =>
    line
      .map((cell, index) => (isNumeric[index] ? cell.padStart(widths[index]!) : cell.padEnd(widths[index]!)))
      .join("  ")
      .trimEnd();
  return [format(columns), widths.map((width) => "-".repeat(width)).join("  "), ...cells.map(format)].join(
    "\n",
  );
}

function formatCell(value: string | number | undefined): string {
  if (value === undefined) return "";
  if (typeof value === "string") return value;
  if (Number.isInteger(value)) return value.toLocaleString("en-US");
  return Math.abs(value) >= 100
    ? Math.round(value).toLocaleString("en-US")
    : String(Number(value.toPrecision(3)));
}

/** The quantile of sorted numbers by the nearest rank; NaN when there are none. */
export function quantileOf(sorted: ArrayLike<number>, q: number): number {
  if (sorted.length === 0) return Number.NaN;
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))] ?? Number.NaN;
}

/** In [0, 1]; 1 is the greatest. */
export type Quantile = number;

const USUAL_QUANTILES: readonly Quantile[] = [0.5, 0.99, 0.999, 1];

/** Quantiles of latencies in ms, as `prefix p99 ms`; p50, p99, p99.9 and max unless told otherwise. */
export function summariseLatencies(
  prefix: string,
  latenciesMs: readonly number[],
  quantiles: readonly Quantile[] = USUAL_QUANTILES,
): Record<string, number> {
  const sorted = Float64Array.from(latenciesMs).sort();
  return Object.fromEntries(
    quantiles.map((q) => [`${prefix} ${nameOf(q)} ms`.trim(), quantileOf(sorted, q)]),
  );
}

function nameOf(q: Quantile): string {
  return q === 1 ? "max" : `p${Number((q * 100).toFixed(6))}`;
}
