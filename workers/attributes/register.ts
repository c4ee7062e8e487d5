import { compareTimes, type HybridTime } from "./hybrid-clock.ts";

/** A device's attribute: what it is now, or was last. */
export type AttributeValue = string | number | boolean;

/**
 * A last-writer-wins register (Shapiro, Preguiça, Baquero, Zawirski: "Conflict-free Replicated Data Types", 2011) of one
 * attribute of one device of one edge.
 */
export interface Register {
  /** A text of JSON; null: it was removed, which must be remembered, or an older value would come back. */
  readonly value: string | null;
  readonly time: HybridTime;
  /** Data directory that it was set in: of two set at the same time, the greater name's holds. */
  readonly incarnation: string;
}

/**
 * Above 0: `a` holds; merging is to keep the greater. The order is total, so that is commutative, associative and idempotent:
 * copies of a data directory have one name and one clock, so values decide in the end. 0: they are the same.
 */
export function compareRegisters(a: Register, b: Register): number {
  return (
    compareTimes(a.time, b.time) ||
    compareTexts(a.incarnation, b.incarnation) ||
    compareTexts(a.value ?? "", b.value ?? "")
  );
}

/** By their bytes in UTF-8, as SQLite and PostgreSQL (COLLATE "C") do. */
function compareTexts(a: string, b: string): number {
  return a === b ? 0 : Buffer.compare(Buffer.from(a), Buffer.from(b));
}
