import type {
  BodyFormat,
  BodyOutcome,
  IngestBody,
  IngestResult,
  PackedOutcomes,
  PackedTask,
} from "./messages.ts";

/** An ingest result of packed bodies. */
export interface PackedResult extends Omit<IngestResult, "outcomes"> {
  readonly packed: PackedOutcomes;
}

/** Bodies larger than this on average are handed over by themselves, without a copy. */
const MAX_AVERAGE_BYTES = 8 * 1024;

/** Uncompressed bodies of one format in one piece; null when they are too few, too large or of several kinds to gain by it. */
export function packBodies(
  bodies: readonly IngestBody[],
): Pick<PackedTask, "format" | "bodies" | "ends"> | null {
  const format = bodies[0]?.format;
  if (format === undefined || bodies.length < 2 || !bodies.every((body) => isAlike(body, format)))
    return null;
  const ends = new Uint32Array(bodies.length);
  let bytes = 0;
  for (const [index, { body }] of bodies.entries()) ends[index] = bytes += body.length;
  if (bytes > bodies.length * MAX_AVERAGE_BYTES) return null;
  const packed = new Uint8Array(bytes);
  for (const [index, { body }] of bodies.entries()) packed.set(body, ends[index]! - body.length);
  return { format, bodies: packed, ends };
}

function isAlike({ format, encoding }: IngestBody, wanted: BodyFormat): boolean {
  return format === wanted && encoding === "identity";
}

export function unpackBodies({
  format,
  bodies,
  ends,
}: Pick<PackedTask, "format" | "bodies" | "ends">): IngestBody[] {
  return Array.from(ends, (end, index) => {
    const body = bodies.subarray(index === 0 ? 0 : ends[index - 1], end);
    return { format, encoding: "identity", body };
  });
}

export function packOutcomes(outcomes: readonly BodyOutcome[]): PackedOutcomes {
  const accepted = new Uint32Array(outcomes.length);
  const others: [number, BodyOutcome][] = [];
  for (const [index, outcome] of outcomes.entries()) {
    if (outcome.kind === "parsed" && outcome.bad === 0) accepted[index] = outcome.accepted;
    else others.push([index, outcome]);
  }
  return { accepted, others };
}

export function unpackOutcomes({ accepted, others }: PackedOutcomes): BodyOutcome[] {
  const outcomes = Array.from(accepted, (count): BodyOutcome => {
    return { kind: "parsed", accepted: count, bad: 0, errors: [] };
  });
  for (const [index, outcome] of others) outcomes[index] = outcome;
  return outcomes;
}
