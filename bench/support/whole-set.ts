import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** All benches, one after the other, each in a process of its own so that none warms up, or spoils, the next. */

/** A bench with settings, and the name that its result is kept under. */
export interface PlannedRun {
  readonly name: string;
  readonly bench: string;
  readonly settings: readonly string[];
}

export interface Outcome {
  readonly name: string;
  readonly tookSeconds: number;
  /** null: it went well. */
  readonly failure: string | null;
}

/** Lengths that suffice for steady figures; a bench that is not here runs once, with its own. */
const SETTINGS: Readonly<Record<string, readonly Omit<PlannedRun, "bench">[]>> = {
  chaos: [{ name: "chaos", settings: ["--minutes", "2"] }],
  // All levels of a full buffer, in minutes.
  outage: [{ name: "outage", settings: ["--scale", "0.1", "--step", "300"] }],
  pipeline: [
    { name: "pipeline", settings: ["--seconds", "10"] },
    { name: "pipeline-encrypted", settings: ["--seconds", "10", "--encrypt", "yes"] },
  ],
  reconnect: [
    { name: "reconnect", settings: [] },
    { name: "reconnect-real-line", settings: ["--line", "real"] },
  ],
  // An hour is a run of its own.
  soak: [{ name: "soak-10-minutes", settings: ["--minutes", "10"] }],
  scale: [{ name: "scale", settings: ["--seconds", "10"] }],
  sync: [
    { name: "sync", settings: [] },
    { name: "sync-postgres", settings: ["--store", "postgres", "--events", "400000"] },
  ],
  writes: [{ name: "writes", settings: ["--seconds", "35"] }],
};
/** Part of another: `pipeline` runs it. */
const LEFT_OUT: ReadonlySet<string> = new Set(["plain-way"]);
/** A bench that takes longer hangs. */
const LONGEST_MS = 2 * 3_600_000;
const RUN_FILE = fileURLToPath(new URL("../run.ts", import.meta.url));

/** What `all` runs; `only` names benches, all of them when it is null. */
export function planWholeSet(
  benches: readonly string[],
  only: readonly string[] | null,
  except: readonly string[],
): PlannedRun[] {
  return benches
    .filter((bench) => (only === null ? !LEFT_OUT.has(bench) : only.includes(bench)))
    .filter((bench) => !except.includes(bench))
    .flatMap((bench) =>
      (SETTINGS[bench] ?? [{ name: bench, settings: [] }]).map((run) => ({ bench, ...run })),
    );
}

/** Runs them in order, `extra` behind each one's own settings, and goes on after a failure. */
export async function runWholeSet(
  runs: readonly PlannedRun[],
  extraFor: (run: PlannedRun) => readonly string[],
): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const run of runs) {
    const startedMs = performance.now();
    const failure = await runAlone([run.bench, ...run.settings, ...extraFor(run)]);
    const tookSeconds = Number(((performance.now() - startedMs) / 1_000).toFixed(1));
    outcomes.push({ name: run.name, tookSeconds, failure });
  }
  return outcomes;
}

/** In a process group of its own, so that what hangs goes with all that it started. */
async function runAlone(args: readonly string[]): Promise<string | null> {
  const child = spawn(process.execPath, [RUN_FILE, ...args], {
    stdio: ["ignore", "inherit", "inherit"],
    detached: true,
  });
  const exited = once(child, "exit") as Promise<[number | null, NodeJS.Signals | null]>;
  const endGroup = (signal: NodeJS.Signals): void => {
    if (child.pid !== undefined) process.kill(-child.pid, signal);
  };
  const interrupt = (): void => {
    endGroup("SIGKILL");
    process.exit(130);
  };
  process.once("SIGINT", interrupt).once("SIGTERM", interrupt);
  const limit = setTimeout(() => endGroup("SIGKILL"), LONGEST_MS);
  const [code, signal] = await exited;
  clearTimeout(limit);
  process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
  if (code === 0) return null;
  return signal === null ? `exit code ${code}` : `ended by ${signal}`;
}
