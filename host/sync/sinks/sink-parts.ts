import type { SinkTarget } from "../../config/sink-config.ts";

/** What a sink beside the hub is made of. */
export interface SinkParts<T extends SinkTarget = SinkTarget> {
  readonly name: string;
  readonly target: T;
  readonly edge: string;
  /** Without any progress for so long, an attempt is given up. */
  readonly timeoutMs: number;
}
