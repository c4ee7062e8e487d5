import type { BufferSettings } from "../../workers/store/buffer-operations.ts";
import type { Config } from "./config.ts";
import { DEFAULTS } from "./defaults.ts";

/** What the store must know to keep its size. */
export function bufferSettings({ buffer, streams, sync }: Config): BufferSettings {
  return {
    capBytes: buffer.capBytes,
    retentionUs: buffer.retentionUs,
    // What is to be synced is kept until it is.
    expiresUnsynced: buffer.isRetentionSet && sync == null,
    priorities: [...streams.values()].map(({ name, priority }) => [name, priority]),
    defaultPriority: DEFAULTS.priority,
  };
}
