import { type Frame, FrameReader } from "./checkpoint-frames.ts";
import type { StateAdoption } from "./core/capture.ts";
import { MillraceError } from "./errors.ts";
import type { SnapshotPart } from "./snapshot.ts";

/** The windows of a query that are to be restored, as the newest head names them. */
export interface Adopting {
  readonly stream: string;
  readonly name: string;
  readonly signature: string;
  readonly adoption: StateAdoption;
}

interface SegmentQuery {
  readonly query: Adopting;
  readonly head: Uint8Array;
}

/**
 * Restores windows from the segments of a checkpoint, the oldest first. What a query has in segments before its last whole one
 * is passed over: it may be of other windows that had the name.
 */
export class CheckpointAdoption {
  readonly #queries: readonly Adopting[];
  /** By segment: its queries by their number in its head. */
  readonly #segments: ReadonlyMap<number, SegmentQuery>[];
  readonly #reader = new FrameReader();
  #begun = -1;

  /** `heads`: of each segment. @throws E_CHECKPOINT_VERSION, E_CHECKPOINT_DAMAGED */
  constructor(heads: readonly (readonly SnapshotPart[])[], queries: readonly Adopting[]) {
    this.#queries = queries;
    this.#segments = heads.map(() => new Map<number, SegmentQuery>());
    for (const query of queries) this.#place(heads, query);
  }

  #place(heads: readonly (readonly SnapshotPart[])[], query: Adopting): void {
    for (let segment = heads.length - 1; segment >= 0; segment--) {
      const saved = heads[segment]!.flatMap(({ stream, queries }) =>
        queries.map((one) => ({ ...one, stream })),
      );
      const part = saved.findIndex(
        ({ stream, name, signature }) =>
          stream === query.stream && name === query.name && signature === query.signature,
      );
      const head = saved[part]?.state;
      if (head === undefined) break;
      if (segment === heads.length - 1) query.adoption.begin(head);
      (this.#segments[segment] as Map<number, SegmentQuery>).set(part, { query, head });
      if (query.adoption.isWhole(head)) return;
    }
    throw new MillraceError(
      "E_CHECKPOINT_DAMAGED",
      `the checkpoint has not all of the windows of ${query.name}; start with the checkpoint before it`,
    );
  }

  /** Takes in frames of a segment, in their order; heads are passed over. */
  push(segment: number, frames: readonly Frame[]): void {
    const queries = this.#segments[segment]!;
    if (segment !== this.#begun) {
      this.#begun = segment;
      for (const { query, head } of queries.values()) query.adoption.head(head);
    }
    for (const frame of frames) {
      const framed = this.#reader.push(frame);
      if (framed?.kind === "records") queries.get(framed.part)?.query.adoption.piece(framed.bytes);
    }
  }

  end(): void {
    for (const { adoption } of this.#queries) adoption.end();
  }
}
