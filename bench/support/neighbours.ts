import { readFileSync } from "node:fs";

/** Ticks of 10 ms (USER_HZ), as in /proc/stat. */
const TICK_MS = 10;

/** What others did on the machine while a bench ran, in cores on average; null where there is no /proc. */
export interface Neighbours {
  /** Taken by processes that are not of the bench. */
  readonly othersCores: number;
  /** Taken by other virtual machines. */
  readonly stolenCores: number;
}

interface Reading {
  readonly busyMs: number;
  readonly stolenMs: number;
  readonly ownMs: number;
}

/** Begins to watch; the function that comes back tells of the time since. Children count as the bench's own once they ended. */
export function watchNeighbours(): () => Neighbours | null {
  const startedMs = performance.now();
  const before = read();
  return () => {
    const after = read();
    const elapsedMs = performance.now() - startedMs;
    if (before === null || after === null || elapsedMs <= 0) return null;
    const othersMs = after.busyMs - before.busyMs - (after.ownMs - before.ownMs);
    return {
      othersCores: round(Math.max(0, othersMs) / elapsedMs),
      stolenCores: round((after.stolenMs - before.stolenMs) / elapsedMs),
    };
  };
}

function read(): Reading | null {
  try {
    // cpu user nice system idle iowait irq softirq steal
    const total = readFileSync("/proc/stat", "utf8")
      .split("\n", 1)[0]!
      .trim()
      .split(/\s+/)
      .slice(1)
      .map(Number);
    const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = total;
    const own = readFileSync("/proc/self/stat", "utf8");
    // utime stime cutime cstime: the 14th field and on; what stands behind the name begins with the third.
    const times = own
      .slice(own.lastIndexOf(")") + 2)
      .split(" ")
      .slice(11, 15)
      .map(Number);
    return {
      busyMs: (user + nice + system + irq + softirq) * TICK_MS,
      stolenMs: steal * TICK_MS,
      ownMs: times.reduce((sum, ticks) => sum + ticks, 0) * TICK_MS,
    };
  } catch {
    return null;
  }
}

const round = (cores: number): number => Number(cores.toFixed(2));
