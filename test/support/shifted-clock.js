import { readFileSync } from "node:fs";

/**
 * Loaded into a node by `--import`: the wall clock of every thread is off by the milliseconds that the file
 * `MILLRACE_SHIFT_FILE` holds at that moment. The monotonic clock goes on as it is, as that of a machine whose time is set.
 */
const file = process.env.MILLRACE_SHIFT_FILE ?? "";
const RealDate = Date;
const realNow = Date.now.bind(Date);

function shiftMs() {
  try {
    return Number(readFileSync(file, "utf8")) || 0;
  } catch {
    return 0;
  }
}

Date.now = () => realNow() + shiftMs();
globalThis.Date = new Proxy(RealDate, {
  construct: (target, args, self) =>
    Reflect.construct(target, args.length === 0 ? [RealDate.now()] : args, self),
});
