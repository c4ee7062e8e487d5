import { existsSync, statfsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import * as z from "zod";
import type { KeepRule, RetentionRules } from "../../workers/hub/retention.ts";
import { duration, name, size } from "../config/schema.ts";

/** Where a hub keeps what edges send, and for how long. */
export type HubStoreConfig =
  /** In the data directory. `capBytes` null: a share of its disk. */
  | { readonly kind: "sqlite"; readonly rules: RetentionRules }
  /** `retentionUs`: how long events are kept, µs; null: for ever. */
  | { readonly kind: "postgres"; readonly url: string; readonly retentionUs: number | null };

const HOUR_US = 3_600e6;
const DAY_US = 24 * HOUR_US;
const MIB = 1024 ** 2;
/** Of the disk, where no cap is set: as that of an edge's buffer. */
const SHARE_OF_DISK = 0.8;

const retention = duration(HOUR_US).optional();
const cap = size(16 * MIB, 1024 ** 5).optional();

const OF_SQLITE = "is for SQLite alone; PostgreSQL drops whole days by store.retention";

export const storeSchema = z
  .strictObject({
    postgres: z
      .string("must be the address of a database")
      .regex(/^postgres(ql)?:\/\/[^\s]+$/, "must be like postgres://user:password@host:5432/database")
      .optional()
      .describe("The database, which any number of hubs may share. Default: SQLite in the data directory."),
    retention: retention.describe("How long events are kept. Default: for ever."),
    cap: cap.describe("Most bytes of the database before the oldest events go. Default: 80% of its disk."),
    streams: z
      .record(name, z.strictObject({ retention, cap }))
      .optional()
      .describe("Streams that are kept otherwise: retention, and a cap of stored bytes of their own."),
  })
  .superRefine((store, context) => {
    if (store.postgres === undefined) return;
    for (const key of ["cap", "streams"] as const)
      if (store[key] !== undefined) context.addIssue({ code: "custom", path: [key], message: OF_SQLITE });
    if (store.retention !== undefined && store.retention < DAY_US)
      context.addIssue({ code: "custom", path: ["retention"], message: "must be 1d at least" });
  });

export function buildStore(input: z.output<typeof storeSchema> | null | undefined): HubStoreConfig {
  const { postgres, retention: retentionUs = null, cap: capBytes = null, streams = {} } = input ?? {};
  if (postgres !== undefined) return { kind: "postgres", url: postgres, retentionUs };
  const rules = Object.entries(streams).map(([stream, rule]): [string, KeepRule] => [
    stream,
    { retentionUs: rule.retention ?? retentionUs, capBytes: rule.cap ?? null },
  ]);
  return { kind: "sqlite", rules: { retentionUs, capBytes, streams: Object.fromEntries(rules) } };
}

/** With the cap that is in force on this disk. */
export function rulesFor(dataDir: string, rules: RetentionRules): RetentionRules {
  if (rules.capBytes !== null) return rules;
  let dir = resolve(dataDir);
  while (!existsSync(dir)) dir = dirname(dir);
  const { blocks, bsize } = statfsSync(dir);
  return { ...rules, capBytes: Math.floor(blocks * bsize * SHARE_OF_DISK) };
}
