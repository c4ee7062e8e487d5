import { Batch } from "../batch/batch";
import { MAX_EXTRA_BYTES } from "./parser";
import { escape } from "./text";
import { compact } from "./value";

/**
 * Appends one member to the row's object in the extra column, whose bytes begin at `start`. `isDocument`: the value may
 * hold line feeds, and is written without white space. False when the batch holds as much as it may.
 */
export function appendExtra(
  batch: Batch,
  start: u32,
  path: usize,
  pathLength: u32,
  value: usize,
  valueEnd: usize,
  isDocument: bool,
): bool {
  const bytes = batch.extra.bytes;
  const length = <u32>(valueEnd - value);
  if (<u64>bytes.length + pathLength * 6 + length > MAX_EXTRA_BYTES) return false;
  bytes.reserve(pathLength * 6 + length + 8);
  bytes.u8(bytes.length == start ? 0x7b : 0x2c);
  bytes.u8(0x22);
  bytes.length += escape(path, pathLength, bytes.data + bytes.length);
  bytes.u16(0x3a22);
  if (isDocument) bytes.length += compact(value, valueEnd, bytes.data + bytes.length);
  else bytes.append(value, length);
  return true;
}
