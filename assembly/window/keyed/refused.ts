import { KeyedWindows } from "./windows";

/** There is no span that a refused fragment could lengthen. */
export const NO_SPAN: u32 = 0xffffffff;

/**
 * Lists a fragment of a partial's key as late, by lengthening the span of the one before it where that was late too: `span`.
 * Returns the span that it is in now.
 */
export function refuse(windows: KeyedWindows, key: u32, firstUs: i64, lastUs: i64, rows: u32, span: u32): u32 {
  const late = windows.late;
  windows.lateRows += rows;
  if (span != NO_SPAN) {
    store<i64>(late.data + span, lastUs, 8);
    return span;
  }
  const at = late.length;
  const name = windows.partialKeys.placeOf(key);
  late.u64(firstUs);
  late.u64(lastUs);
  late.append(name, 4 + load<u32>(name));
  return at;
}
