import type { QueryPlan } from "../messages.ts";
import { createCalendar, encodePage } from "./calendar.ts";
import { type CoreModule, copyIn, type Pointer } from "./module.ts";

interface MemoryExports {
  allocate(length: number): number;
  release(pointer: Pointer): void;
}

/** A time that is none: the calendar covers everything. */
const NO_TIME = -(2n ** 63n);

/**
 * Hands over the pages of the plan's calendar that a stage says it misses, and does nothing where its windows follow none.
 * `cover` takes a page by its address; `missing` looks from the beginning for 1, and from where it was for 0.
 */
export function pageSupply(
  core: CoreModule,
  { window }: QueryPlan,
  cover: (at: number) => void,
): (missing: (isFirst: 0 | 1) => bigint) => void {
  if (window.kind !== "calendar") return () => undefined;
  const { allocate, release } = core.exports as unknown as MemoryExports;
  const calendar = createCalendar(window);
  return (missing) => {
    for (let time = missing(1); time !== NO_TIME; time = missing(0)) {
      const page = encodePage(calendar.pageAt(time));
      const at = allocate(page.length + 16) >>> 0;
      copyIn(core, at, page);
      cover(at);
      release(at);
    }
  };
}
