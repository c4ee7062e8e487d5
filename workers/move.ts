import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { move } from "piscina";

/** What piscina looks for in a worker's answer. */
const TRANSFERABLE: unique symbol = Symbol.for("Piscina.transferable");
const VALUE: unique symbol = Symbol.for("Piscina.valueOf");

interface Movable {
  readonly [TRANSFERABLE]: readonly ArrayBuffer[];
  readonly [VALUE]: unknown;
}

/** Marked once, for all answers: a mark on each, and its getters, cost as much as a small answer's way. */
class Moved implements Movable {
  readonly #value: unknown;
  readonly #buffers: readonly ArrayBuffer[];

  constructor(value: unknown, buffers: readonly ArrayBuffer[]) {
    this.#value = value;
    this.#buffers = buffers;
  }

  get [TRANSFERABLE](): readonly ArrayBuffer[] {
    return this.#buffers;
  }

  get [VALUE](): unknown {
    return this.#value;
  }
}

findMark()(Moved.prototype);

/**
 * Marks a worker's answer so that its buffers are transferred, not copied.
 * Piscina unwraps it: the caller of `run` gets `value` itself.
 */
export function moveWith<T>(value: T, buffers: readonly ArrayBuffer[]): T {
  return new Moved(value, buffers) as T;
}

/** The value of an answer, and the buffers that are to be transferred with it: those of `moveWith`, or none. */
export function takeMoved(answer: unknown): {
  readonly value: unknown;
  readonly buffers: readonly ArrayBuffer[];
} {
  if (typeof answer !== "object" || answer === null || !(TRANSFERABLE in answer))
    return { value: answer, buffers: [] };
  const { [TRANSFERABLE]: buffers, [VALUE]: value } = answer as Movable;
  return { value, buffers };
}

/**
 * The part of `piscina.move` that leaves a mark. Piscina as a whole would come to every thread only for that: a megabyte
 * and 13 ms each. The part is at hand, for piscina runs this thread by it; where a release keeps it elsewhere, all of it is taken.
 */
function findMark(): (movable: object) => void {
  const require = createRequire(import.meta.url);
  try {
    const folder = dirname(require.resolve("piscina"));
    const common = require(join(folder, "common.js")) as { markMovable?: (movable: object) => void };
    if (common.markMovable !== undefined) return common.markMovable;
  } catch {
    // Then as anybody would.
  }
  const piscina = require("piscina") as { move: typeof move };
  return (movable) => void piscina.move(movable as Parameters<typeof move>[0]);
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
