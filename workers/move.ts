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

/** `release` for bytes that nobody needs any more, when they are all of their buffer: small ones share a pool. */
export function releaseBytes({ buffer, byteLength }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) release(buffer);
}
