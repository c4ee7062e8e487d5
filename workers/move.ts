import { move, transferableSymbol, valueSymbol } from "piscina";

/**
 * Marks a worker's answer so that its buffers are transferred, not copied.
 * Piscina unwraps it: the caller of `run` gets `value` itself.
 */
export function moveWith<T>(value: T, buffers: readonly ArrayBuffer[]): T {
  const movable = {
    get [transferableSymbol](): readonly ArrayBuffer[] {
      return buffers;
    },
    get [valueSymbol](): T {
      return value;
    },
  };
  return move(movable as unknown as Parameters<typeof move>[0]) as T;
}

/**
 * Gives a buffer's memory back now. Garbage collection would, but late: it does not see how large the memory behind a
 * small object is, and at a hundred megabytes a second that shows.
 */
export function release(buffer: ArrayBuffer): void {
  if (!buffer.detached) buffer.transfer(0);
}
