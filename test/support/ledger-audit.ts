import Database from "better-sqlite3";
import { databaseFile } from "../../workers/store/data-dir.ts";
import { checkBalance, type Imbalance, readLedgers, type StreamLedger } from "../../workers/store/ledger.ts";

/** The books of a data directory, as they are on disk; a node may be running on it. */
export function audit(dir: string): {
  readonly imbalances: readonly Imbalance[];
  readonly ledgers: readonly StreamLedger[];
  readonly integrity: unknown;
} {
  const db = new Database(databaseFile(dir), { readonly: true });
  try {
    const integrity = db.pragma("integrity_check", { simple: true });
    return { imbalances: checkBalance(db), ledgers: readLedgers(db), integrity };
  } finally {
    db.close();
  }
}
