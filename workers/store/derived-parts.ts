import type { CommitOperation } from "../messages.ts";
import { packedOf, textOf } from "../packed-rows.ts";
import { splitResults } from "../result-rows.ts";

/** Two parts of what follows from events, in its order; null: it cannot be parted. */
export function splitDerived(
  operations: readonly CommitOperation[],
): readonly (readonly CommitOperation[])[] | null {
  const [only] = operations;
  if (operations.length > 1) {
    const middle = Math.ceil(operations.length / 2);
    return [operations.slice(0, middle), operations.slice(middle)];
  }
  if (only?.kind === "results" && only.rows.length > 1) {
    const middle = Math.ceil(only.rows.length / 2);
    return [[{ ...only, rows: only.rows.slice(0, middle) }], [{ ...only, rows: only.rows.slice(middle) }]];
  }
  if (only?.kind !== "packed-results") return null;
  const text = textOf(only.packed);
  const parts = splitResults(text, Math.ceil(text.length / 2));
  return parts.length > 1 ? parts.map((part) => [{ ...only, packed: packedOf(part) }]) : null;
}
