import { MillraceError } from "../errors.ts";
import type { QueryPlan } from "../messages.ts";
import { encodePlan } from "./window-plan.ts";

/** Kinds by the numbers of `assembly/window/keyed/settings.ts`. */
const KIND = { session: 0, count: 1, none: 2, tumbling: 3, sliding: 3, calendar: 4 } as const;
/** One window over all time: the local stage then groups by key alone. */
const ALL_TIME = { kind: "tumbling", sizeUs: 2 ** 62, offsetUs: -(2 ** 61) } as const;

/** Whether each key has windows of its own: by their kind, or since they close by the key's own clock. */
export function isKeyed({ window, keyClock }: QueryPlan): boolean {
  return (
    keyClock !== undefined || window.kind === "session" || window.kind === "count" || window.kind === "none"
  );
}

/**
 * What `readPlan` of `assembly/window/plan.ts` and `readSettings` of `assembly/window/keyed/settings.ts` read.
 * @throws E_WINDOW_KIND when the selection is "*": such windows take named values only
 */
export function encodeKeyedPlan(plan: QueryPlan): { plan: Uint8Array; settings: Uint8Array } {
  if (plan.select === "*")
    throw new MillraceError("E_WINDOW_KIND", `query ${plan.name}: its windows take named values only`);
  return { plan: encodePlan({ ...plan, window: ALL_TIME }), settings: encodeSettings(plan) };
}

function encodeSettings({ window, keyClock, having }: QueryPlan): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(64));
  const i64 = (at: number, value: number): void => bytes.setBigInt64(at, BigInt(value), true);
  bytes.setUint32(0, KIND[window.kind], true);
  bytes.setUint32(4, keyClock === undefined ? 0 : 1, true);
  i64(8, keyClock?.boundUs ?? 0);
  i64(16, window.kind === "session" ? window.gapUs : 0);
  i64(24, window.kind === "count" ? window.size : 0);
  if (window.kind === "tumbling" || window.kind === "sliding") {
    i64(32, window.sizeUs);
    i64(40, window.kind === "sliding" ? window.everyUs : window.sizeUs);
    i64(48, window.offsetUs);
  }
  // Slices of a calendar; its offset is in its pages.
  if (window.kind === "calendar") {
    i64(32, window.size);
    i64(40, window.every);
  }
  bytes.setUint32(56, keyClock?.maxIdleKeys ?? 0, true);
  bytes.setUint32(60, having === undefined ? 0 : 1, true);
  return new Uint8Array(bytes.buffer);
}
