import { createFragment, Fragment, headOf, recordOf } from "./fragment";
import { findFragment, fragmentAt, insertFragment, KeyedGroup } from "./group";
import { FragmentEntry } from "./partial";
import { addTime } from "./settings";
import { KeyedWindows } from "./windows";

/**
 * Tumbling and sliding windows that close by their key's own clock: a pane is merged into every window that has it. Cost: a
 * merge for each of size / every windows. Returns false when all of them are closed; where only some are, it counts in
 * the others.
 */
export function mergeAligned(
  windows: KeyedWindows,
  group: KeyedGroup,
  key: u32,
  entry: FragmentEntry,
  states: usize,
  clockUs: i64,
): bool {
  const settings = windows.settings;
  const paneUs = settings.alignedStart(entry.firstUs, settings.paneUs);
  let isTaken = false;
  let startUs = settings.alignedStart(entry.firstUs, settings.everyUs);
  for (; startUs + settings.sizeUs > paneUs; startUs -= settings.everyUs) {
    const endUs = addTime(startUs, settings.sizeUs);
    if (addTime(endUs, windows.plan.latenessUs) <= clockUs) return isTaken;
    isTaken = true;
    const window = windowAt(windows, group, key, startUs, startUs);
    take(windows, group, key, window, entry, states, clockUs);
  }
  return true;
}

/**
 * The same for windows of a calendar. A window that is open keeps the end it began with, which stands in its state: so
 * another time zone database moves no window that has events.
 */
export function mergeCalendar(
  windows: KeyedWindows,
  group: KeyedGroup,
  key: u32,
  entry: FragmentEntry,
  states: usize,
  clockUs: i64,
): bool {
  const axis = windows.settings.axis;
  const slice = axis.sliceOf(entry.firstUs);
  const first = axis.firstWindow(slice);
  let isTaken = false;
  for (let n = axis.lastWindow(slice); n >= first; n--) {
    const startUs = axis.windowStart(n);
    // No window begins on a day that the zone skipped.
    if (axis.sliceStart(n * axis.step + 1) == startUs) continue;
    const endUs = axis.windowEnd(n);
    if (addTime(endUs, windows.plan.latenessUs) <= clockUs) return isTaken;
    isTaken = true;
    take(windows, group, key, windowAt(windows, group, key, startUs, endUs), entry, states, clockUs);
  }
  return true;
}

@inline
function take(
  windows: KeyedWindows,
  group: KeyedGroup,
  key: u32,
  window: Fragment,
  entry: FragmentEntry,
  states: usize,
  clockUs: i64,
): void {
  windows.mergeStates(recordOf(window), states);
  const head = headOf(window);
  head.rows += entry.rows;
  head.isDirty = 1;
  const endUs = windows.endOf(window);
  window.isLate = endUs <= clockUs ? 1 : 0;
  windows.remind(group, key, endUs);
}

function windowAt(windows: KeyedWindows, group: KeyedGroup, key: u32, startUs: i64, lastUs: i64): Fragment {
  const index = findFragment(group, startUs);
  if (index < group.count) {
    const known = fragmentAt(group, index);
    if (known.firstUs == startUs) return known;
  }
  const window = createFragment(windows.plan, startUs, lastUs, key);
  insertFragment(group, index, window);
  windows.fragmentCount++;
  return window;
}
