import type { QueryPlan } from "../messages.ts";
import { createCalendar, encodePage } from "./calendar.ts";
import { type CoreModule, withBytes } from "./module.ts";

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
  const calendar = createCalendar(window);
  return (missing) => {
    for (let time = missing(1); time !== NO_TIME; time = missing(0)) {
      withBytes(core, encodePage(calendar.pageAt(time)), cover);
    }
  };
}
