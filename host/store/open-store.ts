import type { Logger } from "pino";
import { MillraceError } from "../../workers/errors.ts";
import type { MasterKeys } from "../../workers/seal/master-key.ts";
import type { Salvage } from "../../workers/store/repair/salvage.ts";
import { StorageClient } from "./storage-client.ts";

/** Whether an error says that the database itself is damaged. */
export function isDamage(cause: unknown): cause is MillraceError {
  return cause instanceof MillraceError && cause.code === "E_STORE_UNREADABLE";
}

/**
 * Whether the process cannot go on with its store: the database is damaged, or the storage thread was lost, and with it what
 * became of the commit under way.
 */
export function isStoreLost(cause: unknown): boolean {
  return isDamage(cause) || (cause instanceof MillraceError && cause.code === "E_STORE_CLOSED");
}

/**
 * Opens the store of a data directory. A damaged database does not stand in the way: what can be read of it goes into a new
 * one, the old is kept beside it, and the log says what was lost. Tried once: what is damaged again is not repaired by
 * trying on.
 * @throws as `StorageClient.open`
 */
export async function openStore(
  dir: string,
  masters: MasterKeys | null,
  log: Logger,
): Promise<StorageClient> {
  const storage = await open(dir, masters, log);
  const { mendedLog } = storage.recovered;
  for (const what of mendedLog)
    log.error({ what }, "the write-ahead log was damaged and put right; the damaged one is kept");
  return storage;
}

async function open(dir: string, masters: MasterKeys | null, log: Logger): Promise<StorageClient> {
  try {
    return await StorageClient.open(dir, masters);
  } catch (cause) {
    if (!isDamage(cause)) throw cause;
    await salvageStore(dir, masters, log, cause);
    return StorageClient.open(dir, masters);
  }
}

/** Makes a new database of what can be read. The store must be closed. */
export async function salvageStore(
  dir: string,
  masters: MasterKeys | null,
  log: Logger,
  cause: unknown,
): Promise<Salvage> {
  log.error(
    { err: cause },
    "the database is damaged; what can be read of it is being saved, which may take a while",
  );
  const salvage = await StorageClient.salvage(dir, masters);
  const { rows, damagedRows, damagedPages, keptAs, findings, isSealed } = salvage;
  if (isSealed)
    log.warn(
      "the database is encrypted and no key of the configuration opens it: its blocks were not looked at",
    );
  for (const { check, message } of findings)
    log.error({ check, what: message }, "damage found and put right");
  log.warn(
    { rows, damagedRows, damagedPages, kept: keptAs },
    "the database was made anew of what could be read; what is missing is in the loss ledger",
  );
  return salvage;
}
