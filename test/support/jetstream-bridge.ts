import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { jetstream } from "@nats-io/jetstream";
import { connect, headers } from "@nats-io/transport-node";
import { unpackBatch } from "../../workers/sync/batch-format.ts";
import { nativeCodec } from "../../workers/zstd.ts";
import type { RecordedBatch } from "./recorded-batches.ts";
import type { Cleanup } from "./temp-dir.ts";

const codec = nativeCodec();

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

/**
 * A stand-in for a hub: publishes each batch to JetStream, and answers once it is in the stream. What was damaged on the way
 * it refuses, as nothing behind it could ask the edge for it again.
 */
export async function startBridge(publish: Publish, cleanup: Cleanup): Promise<string> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("error", () => undefined);
    request.on("end", () => {
      const body = Buffer.concat(chunks);
      const key = String(request.headers["idempotency-key"] ?? "");
      const edge = String(request.headers["millrace-edge"] ?? "");
      const answer = (status: number, value: object): void => {
        response.writeHead(status, { "content-type": "application/json", "retry-after": "1" });
        response.end(JSON.stringify(value));
      };
      if (request.url !== "/v1/sync" || request.method !== "POST") answer(200, {});
      else if (!isWhole({ edge, key, body })) answer(400, { code: "E_BATCH_CHECKSUM" });
      else
        publish({ edge, key, body }).then(
          ({ duplicate }) => answer(200, { stored: 1, duplicate }),
          (cause: unknown) => answer(503, { detail: String(cause) }),
        );
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanup.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function isWhole({ edge, key, body }: RecordedBatch): boolean {
  try {
    const { header } = unpackBatch(codec, body);
    return header.edge === edge && header.key === key;
  } catch {
    return false;
  }
}
