import { KeyedGroup, waitingOf } from "./group";
import { FragmentEntry } from "./partial";
import { RowKind } from "./results";
import { Waiting } from "./waiting";
import { KeyedWindows } from "./windows";

/**
 * No window: each event gives a row at once, from its time to its time. The first of a key and a time has revision 0; any
 * further one has a revision of its own, which grows from row to row of the query, so that none takes another's place.
 * Times are remembered while the clock has not passed them. After that nobody knows whether an event is the first of its
 * time: one that comes then has a revision of its own too, and is shown as late.
 */
@unmanaged
export class QueuedEvent {
  timeUs: i64;
  key: u32;
  revision: u32;
  kind: RowKind;
  stateLength: u32;
}

export const QUEUED_EVENT_BYTES: u32 = offsetof<QueuedEvent>();

/** Queues the event's row. Times before number `settled` are those remembered from earlier blocks. */
export function showEvent(
  windows: KeyedWindows,
  group: KeyedGroup,
  key: u32,
  entry: FragmentEntry,
  state: usize,
  clockUs: i64,
  settled: u32,
): void {
  const timeUs = entry.firstUs;
  const isLate = timeUs < clockUs;
  const isFirst = !isLate && remember(group, timeUs, settled);
  const queued = windows.queued;
  const at = queued.length;
  queued.reserve(QUEUED_EVENT_BYTES);
  queued.length += QUEUED_EVENT_BYTES;
  queued.append(state, entry.stateLength);
  const event = changetype<QueuedEvent>(queued.data + at);
  event.timeUs = timeUs;
  event.key = key;
  event.revision = isFirst ? 0 : ++windows.repeats;
  event.kind = isLate ? RowKind.Late : RowKind.OnTime;
  event.stateLength = entry.stateLength;
}

/** Returns false when the time was known. A block's events of a key come in the order of time. */
function remember(group: KeyedGroup, timeUs: i64, settled: u32): bool {
  if (group.waiting == 0) group.waiting = changetype<usize>(Waiting.create());
  const times = waitingOf(group);
  const isNewRun = times.end == settled;
  if (!isNewRun && times.event(times.end - 1).timeUs == timeUs) return false;
  if (times.has(timeUs, settled)) return false;
  times.push(timeUs, 0, 0);
  return true;
}

/** Forgets the times that the clock has passed. */
export function dropPassed(group: KeyedGroup, clockUs: i64): void {
  if (group.waiting == 0) return;
  const times = waitingOf(group);
  while (!times.isEmpty && times.event(times.head).timeUs < clockUs) times.drop();
  if (times.isEmpty) {
    times.dispose();
    group.waiting = 0;
  } else {
    times.tidy();
  }
}

/** The queued event at an address, and the address behind it. */
@inline
export function queuedEnd(event: QueuedEvent): usize {
  return changetype<usize>(event) + QUEUED_EVENT_BYTES + event.stateLength;
}
