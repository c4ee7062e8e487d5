import { percentOf } from "../../workers/store/buffer-level.ts";
import type { BufferReport } from "../../workers/store/buffer-operations.ts";
import { imbalanceOf } from "../../workers/store/ledger.ts";
import type { BufferAnswer } from "./schemas.ts";

/** The buffer as `GET /v1/status` shows it; null before the first look at it. */
export function describeBuffer(report: BufferReport | null): BufferAnswer | null {
  if (report === null) return null;
  const { level, levels, ledgers, hasMore, wantsDownsampling, wantsCheckpoint, isFull, losses, ...use } =
    report;
  return {
    level,
    percent: percentOf(level),
    refusing: isFull,
    ...use,
    losses,
    imbalance: ledgers.reduce((sum, ledger) => sum + Math.abs(imbalanceOf(ledger)), 0),
    streams: ledgers.map((ledger) => ({ ...ledger })),
  };
}
