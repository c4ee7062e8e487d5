import type { SinkTarget } from "../../config/sink-config.ts";
import type { ByteBucket } from "../byte-bucket.ts";

/** What a sink beside the hub is made of. */
export interface SinkParts<T extends SinkTarget = SinkTarget> {
  readonly name: string;
  readonly target: T;
  readonly edge: string;
  /** Without any progress for so long, an attempt is given up. */
  readonly timeoutMs: number;
  /** null: no cap. */
  readonly bucket: ByteBucket | null;
}
