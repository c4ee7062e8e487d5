import { touchGroup } from "../../state/keyed-capture";
import { NOT_INTERNED } from "../../memory/dictionary";
import { BEFORE_ALL, CLOCKED, HELD, KeyedGroup, OPEN } from "./group";
import { KeyedWindows } from "./windows";

/**
 * The clocks of keys. A key whose windows are all closed is remembered for its clock, so that an old event of it opens no
 * window that was closed. Of such idle keys `maxIdleKeys` at most are remembered: beyond that, those whose clocks stand
 * earliest are forgotten until half as many are left, and from then on a key that is not known begins with the latest
 * clock forgotten. So nothing closed is opened again; a device never heard of is held to that clock too.
 */
export function forgetClocks(windows: KeyedWindows): void {
  const idle = windows.keys.live - windows.openKeys;
  const most = windows.settings.maxIdleKeys;
  if (idle <= most) return;
  const limitUs = clockAtRank(windows, idle - (most >> 1));
  windows.forgottenUs = max(windows.forgottenUs, limitUs);
  for (let key: u32 = 0; key < windows.groupCount; key++) {
    const group = windows.group(key);
    if (!(group.flags & HELD)) group.clockUs = windows.forgottenUs;
    else if (isIdle(group) && group.clockUs <= limitUs) {
      touchGroup(windows, group, key);
      group.clockUs = windows.forgottenUs;
    }
    windows.refresh(group, key);
  }
}

/** The clock that `rank` idle keys' clocks do not exceed, and fewer at any time before: by halving. rank ≥ 1. */
function clockAtRank(windows: KeyedWindows, rank: u32): i64 {
  let low = i64.MAX_VALUE;
  let high = i64.MIN_VALUE;
  for (let key: u32 = 0; key < windows.groupCount; key++) {
    const group = windows.group(key);
    if (!isIdle(group)) continue;
    low = min(low, group.clockUs);
    high = max(high, group.clockUs);
  }
  while (low < high) {
    const middle = low + <i64>(<u64>(high - low) >> 1);
    let count: u32 = 0;
    for (let key: u32 = 0; key < windows.groupCount; key++) {
      const group = windows.group(key);
      if (isIdle(group) && group.clockUs <= middle) count++;
    }
    if (count < rank) low = middle + 1;
    else high = middle;
  }
  return low;
}

@inline
function isIdle(group: KeyedGroup): bool {
  return (group.flags & (HELD | OPEN)) == HELD;
}

/** The earliest clock of a key with a window or an event that waits, or the least i64 when there is none. */
export function earliestClock(windows: KeyedWindows): i64 {
  const clocks = windows.clocks;
  while (clocks.count != 0) {
    const group = windows.group(clocks.firstKey);
    if (!(group.flags & OPEN)) {
      group.flags &= ~CLOCKED;
      clocks.pop();
    } else if (group.clockUs > clocks.firstUs) {
      clocks.postpone(group.clockUs);
    } else {
      return group.clockUs;
    }
  }
  return BEFORE_ALL;
}

/** The clock that a block with the key would be merged under, but for the stream's. */
export function clockOfKey(windows: KeyedWindows, name: usize, length: u32): i64 {
  const key = windows.keys.dictionary.find(name, length);
  return key == NOT_INTERNED || key >= windows.groupCount ? windows.forgottenUs : windows.group(key).clockUs;
}

/** Moves a key's clock, as an event of it would, and never back: the next firing shows what it lets go. */
export function advanceClock(windows: KeyedWindows, name: usize, length: u32, clockUs: i64): void {
  const key = windows.keys.intern(name, length);
  const group = windows.groupOf(key);
  if (clockUs > group.clockUs) {
    touchGroup(windows, group, key);
    windows.advance(group, clockUs);
    if (group.flags & OPEN) windows.touchKey(group, key);
  }
  windows.refresh(group, key);
}
