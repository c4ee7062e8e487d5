import { createFragment, disposeFragment, headOf, recordOf } from "./fragment";
import { BEFORE_ALL, fragmentAt, insertFragment, KeyedGroup, removeFragments, waitingOf } from "./group";
import { FragmentEntry } from "./partial";
import { RowKind, showFragment } from "./results";
import { outgrow } from "./session";
import { Waiting } from "./waiting";
import { KeyedWindows } from "./windows";

/**
 * Count windows: every n events of a key, in the order of event time and, among events of one time, of their values. An
 * event waits until the clock has passed its time, since until then an earlier one may come: so the windows do not depend
 * on the order of arrival. An event that the clock had passed when it came is late. The window is [first event, last
 * event], and is shown once it is full; the rest waits for further events.
 *
 * Early rows are of the events that the clock has passed: [first, last of these]. All events of an instant are passed at
 * once, so a window that gets more events ends later than its early row, which is retracted with its next row.
 */

/** Returns false when the event is late. */
export function waitForClock(group: KeyedGroup, entry: FragmentEntry, state: usize, clockUs: i64): bool {
  if (entry.firstUs < clockUs) return false;
  if (group.waiting == 0) group.waiting = changetype<usize>(Waiting.create());
  waitingOf(group).push(entry.firstUs, state, entry.stateLength);
  return true;
}

/** Puts the events that the clock has passed into windows. */
export function fillWindows(windows: KeyedWindows, group: KeyedGroup, key: u32, clockUs: i64): void {
  if (group.waiting == 0) return;
  const waiting = waitingOf(group);
  const plan = windows.plan;
  // Windows of one instant differ by their revision. The instant's events are all here: no other call has more of them.
  let instantUs = BEFORE_ALL;
  let repeats: u32 = 0;
  while (!waiting.isEmpty) {
    const event = waiting.event(waiting.head);
    if (event.timeUs >= clockUs) break;
    if (group.count == 0) {
      insertFragment(group, 0, createFragment(plan, event.timeUs, event.timeUs, key));
      windows.fragmentCount++;
    }
    const window = fragmentAt(group, 0);
    const head = headOf(window);
    outgrow(windows, window, window);
    windows.mergeStates(recordOf(window), waiting.state(event));
    window.lastUs = event.timeUs;
    head.rows++;
    if (plan.earlyUs != 0) head.isDirty = 1;
    waiting.drop();
    if (head.rows < windows.settings.size) continue;
    if (window.firstUs == window.lastUs && window.firstUs == instantUs) repeats++;
    else repeats = 0;
    instantUs = window.firstUs == window.lastUs ? window.firstUs : BEFORE_ALL;
    head.emitted = repeats;
    showFragment(windows, window, key, window.lastUs, RowKind.OnTime);
    removeFragments(group, 0, 1);
    windows.fragmentCount--;
    disposeFragment(plan, window);
  }
  // An early row of the instant would take the place of the full window's.
  if (group.count != 0 && instantUs != BEFORE_ALL) {
    const window = fragmentAt(group, 0);
    if (window.firstUs == instantUs && window.lastUs == instantUs) headOf(window).isDirty = 0;
  }
  if (waiting.isEmpty) {
    waiting.dispose();
    group.waiting = 0;
  } else {
    waiting.tidy();
  }
}
