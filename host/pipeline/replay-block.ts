import type { Logger } from "pino";
import type { AggregatedBlock, LogEntry } from "../../workers/messages.ts";
import type { StorageClient } from "../store/storage-client.ts";
import type { Lane } from "./lane.ts";
import { setAsideDamaged } from "./set-aside.ts";
import type { RunningStream } from "./stream-registry.ts";

export interface ReplayParts {
  readonly storage: StorageClient;
  readonly lane: Pick<Lane, "replay">;
  readonly log: Logger;
}

/**
 * The partial aggregates of a block of the log. null when there are none to be had: a damaged block is set aside, and one
 * that is sound but fails twice stays stored and is left out of the windows. A replay goes on past either: a node that
 * stops at the same block at each start would never start.
 */
export async function replayBlock(
  { storage, lane, log }: ReplayParts,
  stream: RunningStream,
  { seq, block, arrivalUs }: LogEntry & { readonly kind: "block" },
): Promise<AggregatedBlock | null> {
  try {
    return await lane.replay(stream, block, arrivalUs);
  } catch {
    const aside = await setAsideDamaged(storage, log, "log", [seq]);
    if (aside.length > 0) return null;
  }
  try {
    return await lane.replay(stream, block, arrivalUs);
  } catch (cause) {
    const { count } = block;
    log.error(
      { err: cause, stream: stream.config.name, seq, count },
      "a stored block cannot be aggregated; it stays stored, and its events are missing in the windows",
    );
    return null;
  }
}
