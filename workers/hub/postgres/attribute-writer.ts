import { compareTimes, type HybridTime } from "../../attributes/hybrid-clock.ts";
import { compareRegisters, type Register } from "../../attributes/register.ts";
import type { SentAttribute } from "../../sync/rows.ts";
import type { WrittenAttributes } from "../attribute-writer.ts";
import type { AttributeRefusal, HubAttributeLimits } from "../edge-news.ts";
import type { Origin } from "../edge-registry.ts";
import { cleanText } from "./clean-text.ts";
import type { Session } from "./connection.ts";
import { WRITES } from "./statements.ts";

/** Merges attributes of devices as `AttributeWriter` does for SQLite, one statement for all of them. */
export async function writeAttributes(
  session: Session,
  { edgeId, incarnation }: Pick<Origin, "edgeId" | "incarnation">,
  sent: readonly SentAttribute[],
  { latest, nowUs, limits }: { latest: HybridTime; nowUs: number; limits: HubAttributeLimits },
): Promise<WrittenAttributes> {
  const inTime = sent.filter(({ ms }) => ms <= nowUs / 1_000 + limits.maxClockAheadMs);
  let refused = sent.length - inTime.length;
  let why: AttributeRefusal | null = refused > 0 ? "clock-ahead" : null;
  const rows = greatest(inTime.map(clean), incarnation);
  const json = JSON.stringify(rows);
  const known = new Set(
    (
      await session.rows<Pick<SentAttribute, "device" | "attribute">>(WRITES.knownAttributes, [edgeId, json])
    ).map(nameOf),
  );
  const [{ count } = { count: 0 }] = await session.rows<{ count: number }>(WRITES.countAttributes, [edgeId]);
  const room = Math.max(0, limits.maxAttributes - count);
  const fresh = rows.filter((row) => !known.has(nameOf(row)));
  const left = new Set(fresh.slice(room).map(nameOf));
  if (left.size > 0) {
    refused += left.size;
    why = "too-many";
  }
  const kept = rows.filter((row) => !left.has(nameOf(row)));
  const clock = kept.reduce<HybridTime>((last, { ms, counter }) => {
    return compareTimes(last, { ms, counter }) < 0 ? { ms, counter } : last;
  }, latest);
  let stored = 0;
  if (kept.length > 0) {
    stored = await session.run(WRITES.mergeAttributes, [edgeId, incarnation, JSON.stringify(kept)]);
    const added = fresh.length - left.size;
    await session.run(WRITES.clockAttributes, [edgeId, added, clock.ms, clock.counter]);
  }
  if (refused > 0) await session.run(WRITES.refuseAttributes, [edgeId, refused, nowUs, why]);
  return { stored, refused, latest: clock };
}

/** One statement touches a row once: of those of one name the greatest. */
function greatest(rows: readonly SentAttribute[], incarnation: string): SentAttribute[] {
  const registerOf = ({ value, ms, counter }: SentAttribute): Register => {
    return { value, time: { ms, counter }, incarnation };
  };
  const found = new Map<string, SentAttribute>();
  for (const row of rows) {
    const other = found.get(nameOf(row));
    if (other === undefined || compareRegisters(registerOf(row), registerOf(other)) > 0)
      found.set(nameOf(row), row);
  }
  return [...found.values()];
}

function clean({ device, attribute, value, ms, counter }: SentAttribute): SentAttribute {
  return {
    device: cleanText(device),
    attribute: cleanText(attribute),
    value: value === null ? null : cleanText(value),
    ms,
    counter,
  };
}

function nameOf({ device, attribute }: Pick<SentAttribute, "device" | "attribute">): string {
  return JSON.stringify([device, attribute]);
}
