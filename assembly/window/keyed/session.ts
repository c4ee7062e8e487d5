import { mergeState, writeState } from "../../state/field-state";
import {
  addShown,
  createFragment,
  disposeFragment,
  Fragment,
  headOf,
  moveShown,
  recordOf,
} from "./fragment";
import { findFragment, fragmentAt, insertFragment, KeyedGroup, removeFragments } from "./group";
import { FragmentEntry } from "./partial";
import { addTime } from "./settings";
import { KeyedWindows } from "./windows";

/**
 * Sessions: events nearer than the gap are together, and the window is [first event, last event + gap). A fragment joins
 * every open session that it is nearer to than the gap, and joins them to each other; an event exactly one gap after the
 * last begins a new session. One that grows or is joined after it was shown is shown anew under its new times, and its old
 * row is retracted with that. As the merging windows of Akidau et al., "The Dataflow Model", 2015.
 */
export function mergeSession(
  windows: KeyedWindows,
  group: KeyedGroup,
  key: u32,
  entry: FragmentEntry,
  states: usize,
  clockUs: i64,
): bool {
  const session = placeInSessions(windows, group, key, entry.firstUs, entry.lastUs, clockUs);
  if (changetype<usize>(session) == 0) return false;
  windows.mergeStates(recordOf(session), states);
  noteRows(windows, group, key, session, entry.rows, clockUs);
  return true;
}

/**
 * The session that a fragment from its first to its last event belongs to, and that lasts as long from now on. Null where it joins
 * none and its own window is closed: it is late.
 */
export function placeInSessions(
  windows: KeyedWindows,
  group: KeyedGroup,
  key: u32,
  firstUs: i64,
  lastUs: i64,
  clockUs: i64,
): Fragment {
  const gapUs = windows.settings.gapUs;
  let from = firstNear(group, firstUs, gapUs);
  let to = from;
  while (to < group.count && fragmentAt(group, to).firstUs - lastUs < gapUs) to++;
  while (from < to && windows.closingOf(fragmentAt(group, from)) <= clockUs) from++;
  if (from == to) {
    if (addTime(addTime(lastUs, gapUs), windows.plan.latenessUs) <= clockUs) return changetype<Fragment>(0);
    const made = createFragment(windows.plan, firstUs, lastUs, key);
    insertFragment(group, findFragment(group, firstUs), made);
    windows.fragmentCount++;
    return made;
  }
  const session = fragmentAt(group, from);
  const endUs = max(fragmentAt(group, to - 1).lastUs, lastUs);
  if (firstUs < session.firstUs || endUs > session.lastUs) outgrow(windows, session, session);
  for (let i = from + 1; i < to; i++) join(windows, fragmentAt(group, i), session);
  removeFragments(group, from + 1, to - from - 1);
  windows.fragmentCount -= to - from - 1;
  session.firstUs = min(session.firstUs, firstUs);
  session.lastUs = endUs;
  return session;
}

/** So many events have come to a session. */
export function noteRows(
  windows: KeyedWindows,
  group: KeyedGroup,
  key: u32,
  session: Fragment,
  rows: u32,
  clockUs: i64,
): void {
  const head = headOf(session);
  head.rows += rows;
  head.isDirty = 1;
  const endUs = windows.endOf(session);
  session.isLate = endUs <= clockUs ? 1 : 0;
  windows.remind(group, key, endUs);
}

/** The number of the first session that does not end a gap or more before a time. */
function firstNear(group: KeyedGroup, timeUs: i64, gapUs: i64): u32 {
  let from: u32 = 0;
  let to = group.count;
  while (from < to) {
    const middle = (from + to) >> 1;
    if (timeUs - fragmentAt(group, middle).lastUs >= gapUs) from = middle + 1;
    else to = middle;
  }
  return from;
}

/** The row shown of a session, if any, is for `heir` to retract. */
export function outgrow(windows: KeyedWindows, session: Fragment, heir: Fragment): void {
  const head = headOf(session);
  if (head.emitted == 0) return;
  if (!session.isEarly) windows.noteOutgrown(session.firstUs, windows.endOf(session), head.key);
  addShown(heir, session.firstUs, windows.endOf(session), head.emitted, session.isEarly);
  head.emitted = 0;
  session.isEarly = 0;
}

/** Adds a session to another, and frees it. */
function join(windows: KeyedWindows, session: Fragment, other: Fragment): void {
  const plan = windows.plan;
  const scratch = windows.scratch;
  outgrow(windows, session, other);
  moveShown(session, other);
  for (let f: u32 = 0; f < plan.fieldCount; f++) {
    const layout = plan.layout(f);
    scratch.reset();
    writeState(scratch, layout, recordOf(session));
    mergeState(layout, recordOf(other), scratch.data);
  }
  headOf(other).rows += headOf(session).rows;
  disposeFragment(plan, session);
}
