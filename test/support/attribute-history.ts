import { createHash } from "node:crypto";
import fc from "fast-check";
import { type HybridTime, NO_TIME, tick } from "../../workers/attributes/hybrid-clock.ts";
import type { Batch } from "../../workers/sync/batch.ts";
import { encodeObjects, type SentAttribute } from "../../workers/sync/rows.ts";

/** One change, as a data directory of an edge stamped it. */
export interface Change extends SentAttribute {
  readonly edge: string;
  readonly incarnation: string;
}

const EDGES = ["press-1", "press-2"];
/** Copies of a data directory have one name: two writers may stamp the same time. */
const INCARNATIONS = ["a".repeat(16), "b".repeat(16)];
const DEVICES = ["m1", "m 2/é", "\u{1f600}"];
const NAMES = ["firmware", "location"];
const VALUES = ['"1.4"', '"é"', "7", "-0.5", "true", null];
export const START_MS = Date.UTC(2026, 0, 1);

const step = fc.record({
  writer: fc.nat(3),
  edge: fc.nat(EDGES.length - 1),
  device: fc.nat(DEVICES.length - 1),
  name: fc.nat(NAMES.length - 1),
  value: fc.constantFrom(...VALUES),
  /** The clock of the writer goes on, stands still, or is put forward or back. */
  jumpMs: fc.oneof(fc.constantFrom(0, 1, 5), fc.integer({ min: -100_000, max: 100_000 })),
});

/** What writers with clocks that jump set, each stamped by a hybrid clock of its own. */
export const history: fc.Arbitrary<Change[]> = fc.array(step, { maxLength: 40 }).map((steps) => {
  const clocks = new Map<string, { physicalMs: number; last: HybridTime }>();
  return steps.map(({ writer, edge, device, name, value, jumpMs }) => {
    const id = `${edge} ${writer}`;
    const before = clocks.get(id) ?? { physicalMs: START_MS, last: NO_TIME };
    const physicalMs = before.physicalMs + jumpMs;
    const last = tick(before.last, physicalMs);
    clocks.set(id, { physicalMs, last });
    return {
      edge: EDGES[edge]!,
      incarnation: INCARNATIONS[writer % 2]!,
      device: DEVICES[device]!,
      attribute: NAMES[name]!,
      value,
      ...last,
    };
  });
});

/** Batches of some changes: of one edge and data directory each, in any order, some changes in several. */
export function deliveries(changes: readonly Change[], order: readonly number[]): Batch[] {
  const batches: Batch[] = [];
  let batch: Change[] = [];
  const end = (): void => {
    if (batch.length > 0) batches.push(batchOf(batch, batches.length));
    batch = [];
  };
  for (const at of order) {
    const change = changes[at % Math.max(1, changes.length)];
    if (change === undefined) continue;
    const [first = change] = batch;
    const isSame = first.edge === change.edge && first.incarnation === change.incarnation;
    if (!isSame || batch.length >= 5) end();
    batch.push(change);
  }
  end();
  return batches;
}

function batchOf(changes: readonly Change[], number: number): Batch {
  const [{ edge, incarnation }] = changes as [Change];
  const rows = changes.map(({ edge: _edge, incarnation: _incarnation, ...row }) => row);
  const ndjson = encodeObjects(rows);
  const key = createHash("sha256").update(`${number}`).update(ndjson).digest("hex").slice(0, 40);
  const start = { number: 1, id: "c".repeat(16) };
  const header = { edge, key, createdUs: START_MS * 1_000, incarnation, start, streams: [], totals: [] };
  return { header, items: [{ kind: "attributes", id: number + 1, rows: rows.length, ndjson }] };
}

/** The plain oracle: everything is sorted, and the last one of each attribute holds. */
export function winners(changes: readonly Change[]): Record<string, string> {
  const bytes = (text: string): string => Buffer.from(text).toString("hex");
  const sorted = changes.toSorted((a, b) => {
    const order = (x: Change) => [bytes(x.incarnation), bytes(x.value ?? "")];
    const [[a1, a2], [b1, b2]] = [order(a), order(b)];
    return (
      a.ms - b.ms ||
      a.counter - b.counter ||
      (a1! < b1! ? -1 : a1! > b1! ? 1 : a2! < b2! ? -1 : a2! > b2! ? 1 : 0)
    );
  });
  const last = new Map(
    sorted.map((each) => [JSON.stringify([each.edge, each.device, each.attribute]), each]),
  );
  const held = [...last].filter(([, { value }]) => value !== null);
  return Object.fromEntries(
    held.map(([name, { value, ms, counter }]) => [
      name,
      `${JSON.stringify(JSON.parse(value!))} ${ms}-${counter}`,
    ]),
  );
}

/** The same of what a hub lists. */
export function listed(ndjson: string): Record<string, string> {
  type Row = { edge: string; device: string; attributes: Record<string, { value: unknown; clock: string }> };
  const rows = ndjson
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Row);
  return Object.fromEntries(
    rows.flatMap(({ edge, device, attributes }) =>
      Object.entries(attributes).map(([name, { value, clock }]) => [
        JSON.stringify([edge, device, name]),
        `${JSON.stringify(value)} ${clock}`,
      ]),
    ),
  );
}
