import { Batch } from "../batch/batch";
import { Dictionary, NOT_INTERNED } from "../memory/dictionary";
import { readPlan } from "../window/plan";
import { Decisive } from "./decisive";

/** The plans' slots name the fields of the key, and those whose values are given. */
export function decisiveCreate(keyPlan: usize, valuePlan: usize, runRows: u32, byTime: u32): Decisive {
  return Decisive.create(readPlan(keyPlan), readPlan(valuePlan), runRows, byTime);
}

/** Leaves entries, see there. `clear`: 0 for none. */
export function decisiveScan(decisive: Decisive, batch: Batch, when: usize, clear: usize): void {
  decisive.scan(batch, when, clear);
}

export function decisiveMain(decisive: Decisive): usize {
  return decisive.main.data;
}

export function decisiveMainLength(decisive: Decisive): u32 {
  return decisive.main.length;
}

export function decisiveLeading(decisive: Decisive): usize {
  return decisive.leading.data;
}

export function decisiveLeadingLength(decisive: Decisive): u32 {
  return decisive.leading.length;
}

export function decisiveDispose(decisive: Decisive): void {
  decisive.dispose();
}

export function keySetCreate(): Dictionary {
  return Dictionary.create();
}

export function keySetClear(keys: Dictionary): void {
  keys.reset();
}

/** `key` must be followed by 16 bytes that may be read. */
export function keySetAdd(keys: Dictionary, key: usize, length: u32): void {
  keys.intern(key, length);
}

/** Moves the entries of the set's keys to the front; returns how many bytes they take. Followed by 16 readable bytes. */
export function keySetKeep(keys: Dictionary, entries: usize, length: u32): u32 {
  let kept = entries;
  const end = entries + length;
  for (let at = entries; at < end; ) {
    const size = load<u32>(at);
    if (keys.find(at + 24, load<u32>(at, 12)) != NOT_INTERNED) {
      memory.copy(kept, at, size);
      kept += size;
    }
    at += size;
  }
  return <u32>(kept - entries);
}

export function keySetDispose(keys: Dictionary): void {
  keys.dispose();
}
