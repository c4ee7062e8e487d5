import type { Delivery, OutgoingBatch, Sink } from "../sink.ts";
import type { SinkParts } from "./sink-parts.ts";

/** The thread of one sink: see `ThreadedSink`. */

export interface Delivered {
  readonly delivery: Delivery;
  /** Of a batch, as stored, what the sink takes at most, where it is known. */
  readonly largestBytes: number | null;
}

/** The node ends by ending the thread. */
const never = new AbortController().signal;
let opening: Promise<Sink> | null = null;

export async function deliver({
  parts,
  batch,
}: {
  readonly parts: SinkParts;
  readonly batch: OutgoingBatch;
}): Promise<Delivered> {
  const sink = await opened(parts);
  const delivery = await sink.deliver(batch, never);
  return { delivery, largestBytes: sink.largestBytes?.() ?? null };
}

export async function probe(parts: SinkParts): Promise<boolean> {
  return (await opened(parts)).probe(never);
}

function opened(parts: SinkParts): Promise<Sink> {
  opening ??= open(parts);
  return opening;
}

async function open({ target, ...shared }: SinkParts): Promise<Sink> {
  switch (target.kind) {
    case "file":
      return new (await import("./file-sink.ts")).FileSink({ ...shared, target });
    case "nats":
      return new (await import("./nats-sink.ts")).NatsSink({ ...shared, target });
    case "postgres":
      return new (await import("./postgres-sink.ts")).PostgresSink({ ...shared, target });
    case "s3":
      return new (await import("./s3-sink.ts")).S3Sink({ ...shared, target });
    case "kafka":
      return new (await import("./kafka-sink.ts")).KafkaSink({ ...shared, target });
  }
}
