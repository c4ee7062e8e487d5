/**
 * A checkpoint is written in pieces, by themselves, and then named as a whole: until then it is none, and the one before it
 * holds. A segment is what one checkpoint has written; one that holds only what has changed needs those before it.
 */

/** The segments of a checkpoint, all from the first to the last, and how many pieces they have together. */
export interface Segments {
  readonly first: number;
  readonly last: number;
  readonly pieces: number;
}

export type CheckpointOperation =
  | {
      readonly kind: "checkpoint-piece";
      readonly segment: number;
      readonly number: number;
      readonly bytes: Uint8Array<ArrayBuffer>;
    }
  | {
      readonly kind: "checkpoint";
      readonly seq: number;
      /** All of it, as earlier releases wrote it; empty where there are segments. */
      readonly state: Uint8Array<ArrayBuffer>;
      readonly segments?: Segments;
    }
  /** Deletes some pieces of segments below one that no checkpoint has any more. Answered as `cleared`. */
  | { readonly kind: "checkpoint-sweep"; readonly below: number; readonly limit: number };

/** Where a piece is. */
export interface PiecePlace {
  readonly segment: number;
  readonly number: number;
}
