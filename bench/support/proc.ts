import { readdirSync, readFileSync } from "node:fs";

/** Linux counts CPU time in ticks of 10 ms (USER_HZ is 100 on every platform that Node runs on). */
const TICK_MS = 10;

export interface ProcessUsage {
  /** User and system time of all threads since the start. */
  readonly cpuMs: number;
  readonly residentBytes: number;
  /**
   * What the C library has taken for `malloc` from the kernel, in use or not, where it has one arena: what SQLite, N-API and buffers
   * hold. V8's heaps, which rise and fall, are not in it, so that it tells of a leak long before all of the memory does.
   */
  readonly nativeHeapBytes: number;
}

/** From /proc; null where there is none. */
export function readUsage(pid: number): ProcessUsage | null {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    const residentKib = Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0);
    const nativeHeapBytes = nativeHeapBytesOf(readFileSync(`/proc/${pid}/maps`, "utf8"));
    return { cpuMs: cpuMsOf(`/proc/${pid}/stat`), residentBytes: residentKib * 1024, nativeHeapBytes };
  } catch {
    return null;
  }
}

function nativeHeapBytesOf(maps: string): number {
  const [, from = "0", until = "0"] = /^([0-9a-f]+)-([0-9a-f]+) .*\[heap\]$/m.exec(maps) ?? [];
  return Number.parseInt(until, 16) - Number.parseInt(from, 16);
}

/** CPU time by thread, under its name and id; empty where there is no /proc. */
export function readThreadCpuMs(pid: number): Map<string, number> {
  const times = new Map<string, number>();
  try {
    for (const tid of readdirSync(`/proc/${pid}/task`)) {
      const name = readFileSync(`/proc/${pid}/task/${tid}/comm`, "utf8").trim();
      times.set(`${name} ${tid}`, cpuMsOf(`/proc/${pid}/task/${tid}/stat`));
    }
  } catch {
    // A thread that ended meanwhile, or no /proc: what was read is what there is.
  }
  return times;
}

/** The busiest threads between two readings, as text. */
export function describeThreads(
  before: Map<string, number>,
  after: Map<string, number>,
  seconds: number,
): string {
  return [...after]
    .map(([thread, cpuMs]) => ({ thread, share: (cpuMs - (before.get(thread) ?? 0)) / (seconds * 1_000) }))
    .filter(({ share }) => share >= 0.01)
    .toSorted((a, b) => b.share - a.share)
    .map(({ thread, share }) => `${thread} ${Math.round(share * 100)} %`)
    .join(", ");
}

/** CPU time between two readings by the threads' names, without their ids. */
export function cpuMsByName(
  before: ReadonlyMap<string, number>,
  after: ReadonlyMap<string, number>,
): Map<string, number> {
  const sums = new Map<string, number>();
  for (const [thread, cpuMs] of after) {
    const name = thread.slice(0, thread.lastIndexOf(" "));
    sums.set(name, (sums.get(name) ?? 0) + cpuMs - (before.get(thread) ?? 0));
  }
  return sums;
}

function cpuMsOf(file: string): number {
  // The command's name stands in parentheses and may contain anything; fields are counted behind it.
  const text = readFileSync(file, "utf8");
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}
