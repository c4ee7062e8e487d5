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

type PackedBodies = Pick<PackedTask, "format" | "bodies" | "ends">;

/** Room made at first; it doubles as bodies come. */
const FIRST_BYTES = 4 * 1024;

/** Uncompressed bodies of one format, copied one behind the other as they come: their own memory is free at once. */
export class BodyPack {
  readonly format: BodyFormat;
  readonly #ends: number[] = [];
  #bytes = new Uint8Array(0);
  #length = 0;

  constructor(format: BodyFormat) {
    this.format = format;
  }

  add(body: Uint8Array): void {
    const needed = this.#length + body.length;
    if (needed > this.#bytes.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(FIRST_BYTES, this.#bytes.length * 2, needed));
      larger.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = larger;
    }
    this.#bytes.set(body, this.#length);
    this.#length = needed;
    this.#ends.push(needed);
  }

  /** All of them, in a buffer that may be handed over, behind them whatever was there. The pack is done with. */
  take(): PackedBodies {
    return { format: this.format, bodies: this.#bytes, ends: Uint32Array.from(this.#ends) };
  }
}

export function unpackBodies({ format, bodies, ends }: PackedBodies): IngestBody[] {
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
