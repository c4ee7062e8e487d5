import { MillraceError } from "../errors.ts";
import type { CoreModule } from "./module.ts";

/**
 * What a trap of the core means to a person. The core's allocator traps when the memory cannot grow, which says no more than
 * "unreachable"; so how much it has is told too. Other failures are given back as they are.
 */
export function explainTrap({ memory }: CoreModule, cause: unknown): unknown {
  if (!(cause instanceof Error) || cause.name !== "RuntimeError") return cause;
  const mebibytes = Math.round(memory.buffer.byteLength / 2 ** 20);
  return new MillraceError(
    "E_CORE_TRAP",
    `the windows' core stopped (${cause.message}) with ${mebibytes} MiB of memory in use. If the machine or the process has no ` +
      "more to give, the memory could not grow: give it more, or lower limits.maxState",
    { cause },
  );
}
