import { MORE, QUANTILE } from "../aggregate/layout";
import { ByteBuffer } from "../memory/bytes";
import { fragmentBytes, recordOf } from "../window/keyed/fragment";
import { fragmentAt, GROUP_BYTES, HELD, waitingOf } from "../window/keyed/group";
import { KeyedWindows } from "../window/keyed/windows";
import { NO_RECORD } from "../window/pane";
import { Plan } from "../window/plan";
import { Windows } from "../window/windows";
import { writeState } from "./field-state";

/** What the dictionary keeps beside a key's bytes. */
const ENTRY_BYTES: u32 = 32;

/** Of its own: between portions of results, the windows' `out` holds those to come. */
const scratch = ByteBuffer.create(256);

/** Memory that a key takes in all open windows, nearly; 0 when it is in none. `key`: below `windowsKeyEnd`. */
export function windowsKeyBytes(windows: Windows, key: u32): f64 {
  let bytes: f64 = 0;
  for (let p: u32 = 0; p < windows.paneCount; p++) {
    const pane = windows.pane(p);
    const found = pane.find(key);
    if (found != NO_RECORD) bytes += recordBytes(windows.plan, pane.record(found));
  }
  return bytes == 0 ? 0 : bytes + <f64>(ENTRY_BYTES + windows.keys.dictionary.length(key));
}

export function windowsKeyEnd(windows: Windows): u32 {
  return windows.keys.dictionary.count;
}

/** The same of keyed windows, with the events that wait. */
export function keyedKeyBytes(windows: KeyedWindows, key: u32): f64 {
  const group = windows.group(key);
  if (!(group.flags & HELD)) return 0;
  let bytes = <f64>(GROUP_BYTES + ENTRY_BYTES + windows.keys.dictionary.length(key) + (group.capacity << 2));
  const head = fragmentBytes(windows.plan) - windows.plan.stride;
  for (let f: u32 = 0; f < group.count; f++) {
    bytes += <f64>head + recordBytes(windows.plan, recordOf(fragmentAt(group, f)));
  }
  return group.waiting == 0 ? bytes : bytes + <f64>waitingOf(group).counted;
}

export function keyedKeyEnd(windows: KeyedWindows): u32 {
  return windows.groupCount;
}

/** Of what a record holds outside itself, the size as it is saved. */
function recordBytes(plan: Plan, record: usize): f64 {
  let bytes = <f64>plan.stride;
  for (let f: u32 = 0; f < plan.fieldCount; f++) {
    const layout = plan.layout(f);
    if (!(layout.families & (MORE | QUANTILE))) continue;
    scratch.reset();
    writeState(scratch, layout, record);
    bytes += <f64>scratch.length;
  }
  return bytes;
}
