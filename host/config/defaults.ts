import { availableParallelism } from "node:os";
import type { Limits } from "./config.ts";

const SECOND_US = 1_000_000;
const MIB = 1024 * 1024;

/** Every default in one place. */
export const DEFAULTS = {
  dataDir: "./millrace-data",
  listen: { host: "127.0.0.1", port: 7070 },
  keyFields: ["device", "id"],
  timeFields: ["ts", "timestamp", "time"],
  boundUs: 5 * SECOND_US,
  idleUs: 60 * SECOND_US,
  maxAheadUs: 300 * SECOND_US,
  latenessUs: 30 * SECOND_US,
  priority: 5,
  checkpointEveryMs: 30_000,
  groupCommitMs: 5,
  retentionUs: 72 * 3_600 * SECOND_US,
  /** One core is left to the main and storage threads. */
  ingestWorkers: Math.max(1, availableParallelism() - 1),
  /** While requests wait for one another, a lane for that core too: those threads leave much of it. */
  maxIngestWorkers: availableParallelism(),
} as const;

export const DEFAULT_LIMITS: Limits = {
  maxBodyBytes: 16 * MIB,
  maxQueuedBytes: 64 * MIB,
  maxQueuedRequests: 10_000,
  maxStreams: 1_000,
  maxSources: 100_000,
  maxKeyClocks: 1_000_000,
  maxStateBytes: 1024 * MIB,
  maxWatermarkAheadUs: 366 * 86_400 * SECOND_US,
  maxLiveClients: 100,
  maxParked: 10_000,
  maxParkedBytes: 256 * MIB,
  // Each takes a few tens of KiB.
  maxConnections: 10_000,
  // Every ingest thread holds them in memory.
  maxTableBytes: 64 * MIB,
  maxWebhooksPerSecond: 20,
  maxQueuedWebhooks: 10_000,
  maxDevices: 10_000,
  maxDeviceAttributes: 64,
  maxAttributeBytes: 1024,
};
