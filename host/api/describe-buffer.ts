import { percentOf } from "../../workers/store/buffer-level.ts";
import type { BufferReport } from "../../workers/store/buffer-operations.ts";
import { imbalanceOf } from "../../workers/store/ledger.ts";
import type { BufferAnswer } from "./schemas.ts";

/** The buffer as `GET /v1/status` shows it; null before the first look at it. */
export function describeBuffer(report: BufferReport | null): BufferAnswer | null {
  if (report === null) return null;
  const { level, ledgers, isFull, losses, usedBytes, capacityBytes, capBytes, databaseBytes } = report;
  const { freeBytes, walBytes, reserveBytes, fixedBytes, diskFreeBytes } = report;
  return {
    level,
    percent: percentOf(level),
    refusing: isFull,
    usedBytes,
    capacityBytes,
    capBytes,
    databaseBytes,
    freeBytes,
    walBytes,
    reserveBytes,
    fixedBytes,
    diskFreeBytes,
    losses,
    imbalance: ledgers.reduce((sum, ledger) => sum + Math.abs(imbalanceOf(ledger)), 0),
    streams: ledgers.map((ledger) => ({ ...ledger })),
  };
}
