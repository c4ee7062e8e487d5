import { writeDoubleQuickly } from "../codec/numbers";
import { ByteBuffer } from "../memory/bytes";

/** Bytes of a number's text at most. */
const NUMBER_BYTES: u32 = 32;
/** A label is copied in steps of so many bytes, and may be read and written that far beyond its end. */
const STEP_BYTES: u32 = 16;

const text = ByteBuffer.create(1024);

/** Makes room for the texts of results with so many values and bytes of labels, so that writing one moves no memory. */
export function valuesTextRoom(values: u32, labelBytes: u32): void {
  text.reserve(values * NUMBER_BYTES + labelBytes + STEP_BYTES + 1);
}

/** Where `valuesText` has written. */
export function valuesTextAt(): usize {
  return text.data;
}

/**
 * Writes a result's values as the JSON text of an object. `labels`: for each value a length u32 and what stands before it. Returns the
 * text's length, or 0 where a value is no number or one whose digits take long to find.
 */
export function valuesText(values: usize, labels: usize, count: u32): u32 {
  const begin = text.data;
  let at = begin;
  for (let i: u32 = 0; i < count; i++) {
    const length = load<u32>(labels);
    labels += 4;
    for (let step: u32 = 0; step < length; step += STEP_BYTES) v128.store(at + step, v128.load(labels + step));
    labels += length;
    at += length;
    const digits = writeDoubleQuickly(load<f64>(values + (<usize>i << 3)), at);
    if (digits == 0) return 0;
    at += digits;
  }
  store<u8>(at, 0x7d); // }
  return <u32>(at - begin) + 1;
}
