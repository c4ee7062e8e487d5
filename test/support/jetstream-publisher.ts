import { jetstream } from "@nats-io/jetstream";
import { connect, headers } from "@nats-io/transport-node";
import type { RecordedBatch } from "./recorded-batches.ts";
import type { Cleanup } from "./temp-dir.ts";

export type Publish = (
  batch: RecordedBatch,
) => Promise<{ readonly duplicate: boolean; readonly seq: number }>;

/** Publishes batches in the form of docs/sync-protocol.md, as an edge with a NATS sink does. */
export async function openPublisher(url: string, cleanup: Cleanup): Promise<Publish> {
  const connection = await connect({ servers: url, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
  cleanup.after(() => connection.close());
  return ({ edge, key, body }) => {
    const sent = headers();
    sent.set("Millrace-Edge", edge);
    sent.set("Content-Type", "application/vnd.millrace.batch");
    const subject = `millrace.sync.${edge.replaceAll(".", "_")}`;
    return jetstream(connection, { timeout: 2_000 }).publish(subject, body, { msgID: key, headers: sent });
  };
}
