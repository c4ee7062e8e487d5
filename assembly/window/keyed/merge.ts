import { touchGroup } from "../../state/keyed-capture";
import { UNCOVERED } from "../calendar";
import { keysEnd } from "../partial-keys";
import { mergeAligned, mergeCalendar } from "./aligned";
import { waitForClock } from "./count";
import { showEvent } from "./events";
import { fragmentAt, isOpen, KeyedGroup, waitingOf } from "./group";
import { FRAGMENT_ENTRY_BYTES, FragmentEntry, GROUP_HEAD_BYTES, KEYED_PARTIAL_VERSION } from "./partial";
import { mergeSession } from "./session";
import { mergeSessionRows } from "./merge-session-rows";
import { KeyedKind } from "./settings";
import { NO_SPAN, refuse } from "./refused";
import { KeyedWindows } from "./windows";

/** What `mergePartial` gives for bytes that it cannot read. */
const MERGE_REFUSED: i32 = -1;

/** Merges the partial in `windows.input`: see `KeyedWindows.merge`. */
export function mergePartial(windows: KeyedWindows, watermarkUs: i64): i32 {
  windows.late.reset();
  windows.lateRows = 0;
  if (windows.input.length < 4 || load<u32>(windows.input.data) != KEYED_PARTIAL_VERSION) return MERGE_REFUSED;
  const keys = windows.partialKeys;
  let at = keys.read(windows.input.data + 4);
  const isByRow = load<u32>(at) != 0;
  at += 4;
  if (isByRow) return mergeSessionRows(windows, at, watermarkUs);
  const groups = load<u32>(at);
  let head = at + 4;
  findGroups(windows, head, groups);
  at = head + groups * GROUP_HEAD_BYTES;
  let late: u32 = 0;
  for (let g: u32 = 0; g < groups; g++, head += GROUP_HEAD_BYTES) {
    const key = load<u32>(windows.found.data + (<usize>g << 2));
    const group = windows.group(key);
    touchGroup(windows, group, key);
    const fragments = load<u32>(head, 4);
    const greatestUs = load<i64>(head, 8);
    const clockUs = max(watermarkUs, group.clockUs);
    const waiting = group.waiting != 0 ? waitingOf(group).end : 0;
    let span = NO_SPAN;
    for (let f: u32 = 0; f < fragments; f++) {
      const entry = changetype<FragmentEntry>(at);
      if (take(windows, group, key, entry, at + FRAGMENT_ENTRY_BYTES, clockUs, waiting)) {
        span = NO_SPAN;
      } else {
        if (span == NO_SPAN) late++;
        span = refuse(windows, load<u32>(head), entry.firstUs, entry.lastUs, entry.rows, span);
      }
      at += FRAGMENT_ENTRY_BYTES + entry.stateLength;
    }
    if (group.waiting != 0) settle(windows, group, waiting);
    moveClock(windows, group, key, greatestUs);
    windows.refresh(group, key);
  }
  return late;
}

/** Where `missingTime` stands in the input: the next group's head, the next fragment, and how many are left. */
let searchHead: usize = 0;
let searchAt: usize = 0;
let searchGroups: u32 = 0;
let searchFragments: u32 = 0;

/**
 * The first event of a fragment in `windows.input` that no page of the calendar covers, or `UNCOVERED`. Goes on where it was but
 * for the first call for an input.
 */
export function missingTime(windows: KeyedWindows, isFirst: bool): i64 {
  if (isFirst) beginSearch(windows);
  const calendar = windows.settings.calendar;
  while (searchFragments != 0 || searchGroups != 0) {
    if (searchFragments == 0) {
      searchFragments = load<u32>(searchHead, 4);
      searchHead += GROUP_HEAD_BYTES;
      searchGroups--;
      continue;
    }
    const entry = changetype<FragmentEntry>(searchAt);
    if (!calendar.covers(entry.firstUs)) return entry.firstUs;
    searchAt += FRAGMENT_ENTRY_BYTES + entry.stateLength;
    searchFragments--;
  }
  return UNCOVERED;
}

function beginSearch(windows: KeyedWindows): void {
  const input = windows.input;
  searchGroups = 0;
  searchFragments = 0;
  if (changetype<usize>(windows.settings.calendar) == 0) return;
  if (input.length < 4 || load<u32>(input.data) != KEYED_PARTIAL_VERSION) return;
  // No calendar has partials by row.
  const groupsAt = keysEnd(input.data + 4) + 4;
  searchGroups = load<u32>(groupsAt);
  searchHead = groupsAt + 4;
  searchAt = searchHead + searchGroups * GROUP_HEAD_BYTES;
}

/** The numbers of the partial's keys. A step ahead of the merge, so that the cache misses of different keys overlap. */
function findGroups(windows: KeyedWindows, head: usize, groups: u32): void {
  const found = windows.found;
  found.reset();
  found.reserve(groups << 2);
  for (let g: u32 = 0; g < groups; g++, head += GROUP_HEAD_BYTES) {
    found.u32(windows.partialKeys.numberOf(load<u32>(head)));
  }
  windows.makeGroups();
  let seen: u32 = 0;
  for (let g: u32 = 0; g < groups; g++) {
    const group = windows.group(load<u32>(found.data + (<usize>g << 2)));
    if (group.count == 1 && group.capacity == 0) seen += <u32>fragmentAt(group, 0).isLate;
  }
  windows.glanced = seen;
}

/** Takes a fragment in; false when it is too late. */
@inline
function take(
  windows: KeyedWindows,
  group: KeyedGroup,
  key: u32,
  entry: FragmentEntry,
  states: usize,
  clockUs: i64,
  waiting: u32,
): bool {
  switch (windows.settings.kind) {
    case KeyedKind.Session:
      return mergeSession(windows, group, key, entry, states, clockUs);
    case KeyedKind.Aligned:
      return mergeAligned(windows, group, key, entry, states, clockUs);
    case KeyedKind.Calendar:
      return mergeCalendar(windows, group, key, entry, states, clockUs);
    case KeyedKind.Count:
      return waitForClock(group, entry, states, clockUs);
    default:
      showEvent(windows, group, key, entry, states, clockUs, waiting);
      return true;
  }
}

function settle(windows: KeyedWindows, group: KeyedGroup, from: u32): void {
  const waiting = waitingOf(group);
  waiting.settle(from);
  if (!waiting.isEmpty) return;
  waiting.dispose();
  group.waiting = 0;
}

/** A key's clock moves once all of a block is merged. */
function moveClock(windows: KeyedWindows, group: KeyedGroup, key: u32, greatestUs: i64): void {
  const settings = windows.settings;
  const everyUs = windows.plan.earlyUs;
  if (!settings.hasClocks && everyUs == 0) return;
  if (settings.hasClocks) windows.advance(group, greatestUs - settings.boundUs);
  if (isOpen(group)) windows.touchKey(group, key);
}
