import { ByteBuffer } from "../memory/bytes";

/**
 * Results are doubles, and NaN is null. What is no number is a NaN of its own: the upper half names the kind of value, the
 * lower half is the value, or where it stands in `boxes`. So a row of results keeps its width, and numbers cost nothing.
 */
const BOX: u64 = 0x7ffc000000000000;

/** The numbers are those of `workers/core/box.ts`. */
export const enum BoxKind {
  /** Lower half: 0 or 1. */
  Bool = 1,
  /** length u32, UTF-8 */
  Text = 2,
  /** i64: a whole number that a double would round */
  Int = 3,
  /** count u32, then each: value (see `value.ts`), count u64, error u64 */
  Top = 4,
  /** count u32, u64 each */
  Counts = 5,
}

/** Values of the results at hand; emptied before the next window's results. */
export const boxes = ByteBuffer.create(1024);

@inline
export function boxOf(kind: BoxKind, lower: u32): f64 {
  return reinterpret<f64>(BOX | ((<u64>kind) << 32) | <u64>lower);
}

@inline
export function boxBool(value: bool): f64 {
  return boxOf(BoxKind.Bool, value ? 1 : 0);
}

export function boxText(text: usize, length: u32): f64 {
  const at = boxes.length;
  boxes.u32(length);
  boxes.append(text, length);
  return boxOf(BoxKind.Text, at);
}
