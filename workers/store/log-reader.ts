import type { LogEntry } from "../messages.ts";
import { blockPlace, configPlace } from "../seal/places.ts";
import type { Stored } from "../seal/seal.ts";
import { type BlockRow, storedBlock } from "./block-row.ts";
import type { Statements } from "./statements.ts";

/** A set of queries, in force from `seq` on; `body` is JSON text. */
export interface StoredConfig {
  readonly seq: number;
  readonly body: string;
}

/** The set in force at a seq: where none was, the first; null when there is none at all. And the newest. */
export function readConfigs(
  sql: Statements,
  seq: number,
): { readonly atCheckpoint: StoredConfig; readonly newest: StoredConfig } | null {
  const newest = sql.lastConfig.get() as ConfigRow | undefined;
  const atCheckpoint = (sql.configAt.get(seq) ?? sql.firstConfig.get()) as ConfigRow | undefined;
  if (newest === undefined || atCheckpoint === undefined) return null;
  return { atCheckpoint: openConfig(sql, atCheckpoint), newest: openConfig(sql, newest) };
}

interface ConfigRow {
  readonly seq: number;
  readonly body: Stored;
}

function openConfig({ seal }: Statements, { seq, body }: ConfigRow): StoredConfig {
  return { seq, body: seal.openText(configPlace(seq), body) };
}

/** Entries of the log after a seq, in its order, until their stored bytes reach `maxBytes`; none at its end. */
export function readLog(sql: Statements, afterSeq: number, maxBytes: number): LogEntry[] {
  const entries: LogEntry[] = [];
  let bytes = 0;
  let upToSeq = Number.MAX_SAFE_INTEGER;
  type Row = BlockRow & { seq: number; streamId: number; stream: string; arrivalUs: number };
  for (const row of sql.logBlocks.iterate(afterSeq) as IterableIterator<Row>) {
    const { seq, streamId, stream, arrivalUs } = row;
    const block = storedBlock(row, sql.seal, blockPlace(streamId, seq));
    entries.push({ kind: "block", seq, stream, arrivalUs, block });
    bytes += row.data.length;
    if (bytes < maxBytes) continue;
    upToSeq = seq;
    break;
  }
  const marks = sql.logWatermarks.all(afterSeq, upToSeq) as {
    seq: number;
    stream: string;
    timeUs: number | null;
  }[];
  for (const { seq, stream, timeUs } of marks)
    entries.push({ kind: "watermark", seq, stream, timeUs: timeUs ?? "end" });
  type TickRow = { seq: number; stream: string; atUs: number; isResume: number };
  for (const { isResume, ...tick } of sql.logTicks.all(afterSeq, upToSeq) as TickRow[])
    entries.push({ kind: "tick", ...tick, isResume: isResume !== 0 });
  for (const config of sql.logConfigs.all(afterSeq, upToSeq) as ConfigRow[])
    entries.push({ kind: "config", ...openConfig(sql, config) });
  return entries.sort((a, b) => a.seq - b.seq);
}
