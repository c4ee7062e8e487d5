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
