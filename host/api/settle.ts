import type { Engine } from "../pipeline/engine.ts";

/** Windows lag behind acknowledgements by milliseconds; when they need longer than this, something is wrong. */
const SETTLE_MS = 10_000;
/** Who asks for the node's state wants it soon, and above all when windows stand still. */
export const STATE_SETTLE_MS = 1_000;

/**
 * Waits until what was acknowledged so far is applied, so that clients read their own writes.
 * @returns false when that takes too long: windows stand still, and a reader must not hang with them.
 */
export function settleInTime(engine: Engine, patienceMs = SETTLE_MS): Promise<boolean> {
  return inTime(engine.settle(), patienceMs);
}

/** @returns false when that takes longer */
export async function inTime(done: Promise<void>, patienceMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), patienceMs);
  });
  try {
    return await Promise.race([done.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}
