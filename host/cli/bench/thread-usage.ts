import { readdirSync, readFileSync } from "node:fs";

/** Linux counts CPU time in ticks of 10 ms (USER_HZ is 100 on every platform that Node runs on). */
const TICK_NS = 10e6;
/** User and system time, counted from the field behind the command's name. */
const USER_FIELD = 11;
const SYSTEM_FIELD = 12;

/** CPU time by the names that threads bear, ns since the start; empty where there is no /proc. */
export function readThreadCpuNs(pid: number): Map<string, number> {
  const times = new Map<string, number>();
  try {
    for (const tid of readdirSync(`/proc/${pid}/task`)) {
      const text = readFileSync(`/proc/${pid}/task/${tid}/stat`, "utf8");
      // The name stands in parentheses and may contain anything.
      const end = text.lastIndexOf(")");
      const name = text.slice(text.indexOf("(") + 1, end);
      const fields = text.slice(end + 2).split(" ");
      const ns = (Number(fields[USER_FIELD]) + Number(fields[SYSTEM_FIELD])) * TICK_NS;
      times.set(name, (times.get(name) ?? 0) + ns);
    }
  } catch {
    // A thread that ended meanwhile, or no /proc: what was read is what there is.
  }
  return times;
}
