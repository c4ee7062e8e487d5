import type { Logger } from "pino";
import type { BlockPlace, SetAsideBlock } from "../../workers/store/corrupt-blocks.ts";
import type { StorageClient } from "../store/storage-client.ts";

/**
 * Sets blocks aside that somebody could not read, if they are damaged indeed, and names each in the log. Its events are
 * in the loss ledger then. @returns those that were.
 */
export async function setAsideDamaged(
  storage: Pick<StorageClient, "setAside">,
  log: Logger,
  place: BlockPlace,
  seqs: readonly number[],
): Promise<readonly SetAsideBlock[]> {
  const aside = await storage.setAside({ place, seqs });
  for (const { stream, seq, count, code, message } of aside) {
    log.error(
      { stream, place, seq, count, code, reason: message },
      "a damaged block was set aside; its events are in the loss ledger, the rest is served",
    );
  }
  return aside;
}
