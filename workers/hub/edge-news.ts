import type { HybridTime } from "../attributes/hybrid-clock.ts";
import type { IdentityCase } from "./edge-identity.ts";

/** What an edge is told beside what became of its batch. */
export interface EdgeNews {
  /** The latest time of the edge's hybrid clock that is held. */
  readonly latest: HybridTime;
  /** Attributes of the batch that were not taken, since their time is too far ahead, or there are too many. */
  readonly refusedAttributes: number;
  /** null: the data directory is as it was. */
  readonly identity: IdentityCase | null;
}

/** What is taken of attributes. */
export interface HubAttributeLimits {
  /** How far ahead of the hub's clock an attribute's time may be. */
  readonly maxClockAheadMs: number;
  /** Attributes of one edge, those that were removed among them. */
  readonly maxAttributes: number;
}

export const DEFAULT_ATTRIBUTE_LIMITS: HubAttributeLimits = {
  // As far as an event may be ahead, by default.
  maxClockAheadMs: 300_000,
  maxAttributes: 1_000_000,
};

/** Why an attribute was not taken. */
export type AttributeRefusal = "clock-ahead" | "too-many";
