import * as z from "zod";

/** What `GET /v1/status` says of a node that other edges send through, and of one whose configuration is the hub's. */

const count = z.int().min(0);
const time = z.string();

export const relayStatus = z.strictObject({
  breaker: z.enum(["closed", "half-open", "open"]),
  underWay: count,
  lastError: z.string().nullable(),
  lastErrorAt: time.nullable(),
  lastSuccess: time.nullable(),
  batches: count.describe("sent on since the start"),
  duplicates: count,
  failures: count,
  parked: count.describe("set aside since the start: the hub will not have them"),
  wireBytes: count,
  capBytes: count.describe("relay.cap"),
  edges: z.array(
    z.strictObject({
      edge: z.string(),
      waiting: count.describe("batches that are still to go"),
      waitingBytes: count,
      parked: count,
      oldest: time.nullable(),
      received: count.describe("batches, since the beginning, as the next three"),
      receivedRows: count,
      forwarded: count,
      forwardedRows: count,
      duplicates: count,
    }),
  ),
});

const version = { of: z.string().describe("edge:NAME or group:NAME"), version: count };

export const remoteConfigStatus = z.strictObject({
  inForce: z.strictObject(version).nullable(),
  isWatched: z.boolean().describe("it is new, and may be rolled back"),
  lastPoll: time.nullable(),
  lastError: z.string().nullable(),
  polls: count,
  failures: count,
  applied: count,
  refused: count,
  rolledBack: count,
  report: z
    .strictObject({
      ...version,
      state: z.enum(["trying", "applied", "refused", "rolled-back"]),
      reason: z.string().nullable(),
      at: time,
    })
    .nullable()
    .describe("what the hub is told"),
});
