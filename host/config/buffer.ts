import type { BufferSettings } from "../../workers/store/buffer-operations.ts";
import type { Config } from "./config.ts";
import { DEFAULTS } from "./defaults.ts";

/** What the store must know to keep its size. */
export function bufferSettings({ buffer, streams }: Config): BufferSettings {
  return {
    capBytes: buffer.capBytes,
    retentionUs: buffer.retentionUs,
    expiresUnsynced: buffer.isRetentionSet,
    priorities: [...streams.values()].map(({ name, priority }) => [name, priority]),
    defaultPriority: DEFAULTS.priority,
  };
}
