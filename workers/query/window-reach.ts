import { createCalendar } from "../core/calendar.ts";
import type { WindowPlan } from "../messages.ts";
import type { TimeRange } from "./time-range.ts";

type PaneWindow = Extract<WindowPlan, { readonly kind: "tumbling" | "sliding" | "calendar" }>;

/** The windows that have a slice in them, by where the slice begins: see `assembly/window/axis.ts`. */
export function windowsOfSlice(window: PaneWindow): (startUs: number) => readonly TimeRange[] {
  return window.kind === "calendar" ? byCalendar(window) : byLength(window);
}

function byLength(window: Exclude<PaneWindow, { readonly kind: "calendar" }>) {
  const { sizeUs, offsetUs } = window;
  const everyUs = window.kind === "sliding" ? window.everyUs : sizeUs;
  return (startUs: number): TimeRange[] => {
    const rest = (startUs - offsetUs) % everyUs;
    const found: TimeRange[] = [];
    for (let fromUs = startUs - rest - (rest < 0 ? everyUs : 0); fromUs + sizeUs > startUs; fromUs -= everyUs)
      found.push({ fromUs, toUs: fromUs + sizeUs });
    return found;
  };
}

function byCalendar(window: Extract<PaneWindow, { readonly kind: "calendar" }>) {
  const calendar = createCalendar(window);
  const width = window.size / window.every;
  let page: readonly number[] = [];
  let inner = { fromUs: 0, toUs: 0 };
  return (startUs: number): TimeRange[] => {
    if (startUs < inner.fromUs || startUs >= inner.toUs) {
      const { boundariesUs, margin } = calendar.pageAt(BigInt(startUs));
      page = boundariesUs.map(Number);
      inner = { fromUs: page[margin]!, toUs: page.at(-1 - margin)! };
    }
    // A day that a zone skipped begins where the next one does.
    const slice = page.findLastIndex((boundary) => boundary <= startUs);
    const found: TimeRange[] = [];
    for (let first = slice; first > slice - width; first--) {
      const fromUs = page[first]!;
      if (page[first + 1] !== fromUs) found.push({ fromUs, toUs: page[first + width]! });
    }
    return found;
  };
}
