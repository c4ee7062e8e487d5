import { JetStreamApiError, jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { MillraceError } from "../../../workers/errors.ts";

/** The first release that reckons a message as it is stored. */
const MENDED = [2, 10, 5] as const;
/** Kept free beyond the message: a share of `max_bytes`, since others publish too, and at least this. */
const FREE_SHARE = 1 / 16;
const LEAST_FREE_BYTES = 4 * 1024;
const NO_STREAM = 404;

/**
 * Keeps a stream from being filled to the brim by servers before 2.10.5. They reckon a new message by its headers and body
 * when they look whether it fits into `max_bytes`, and by its record, which is longer, once it is stored; when the
 * record passes the limit they drop the oldest message of the stream to make room, although the stream is to discard what
 * is new: something acknowledged would be gone unread (github.com/nats-io/nats-server, issue 4771, mended by pull request
 * 4772). So the edge asks how full the stream is before it publishes, one message at a time.
 */
export class NatsRoom {
  #last: Promise<unknown> = Promise.resolve();

  /** Publishes when there is room. @throws MillraceError E_SINK_FULL when there is not; what `publish` throws */
  async publish<T>(
    connection: NatsConnection,
    {
      stream,
      bytes,
      timeoutMs,
    }: { readonly stream: string; readonly bytes: number; readonly timeoutMs: number },
    publish: () => Promise<T>,
  ): Promise<T> {
    if (isMended(connection.info?.version ?? "")) return publish();
    const turn = this.#last.then(async () => {
      await assertRoom(connection, stream, bytes, timeoutMs);
      return publish();
    });
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}

/** Whether a server of this release can be trusted to refuse what is new. A release that is not understood is not. */
export function isMended(version: string): boolean {
  const parts = /^(\d+)\.(\d+)\.(\d+)/.exec(version)?.slice(1).map(Number);
  if (parts === undefined) return false;
  for (const [index, least] of MENDED.entries()) if (parts[index] !== least) return parts[index]! > least;
  return true;
}

/** How many bytes a stream may hold before a message is published to it. */
export function fullAtBytes(maxBytes: number): number {
  return maxBytes - Math.max(LEAST_FREE_BYTES, maxBytes * FREE_SHARE);
}

async function assertRoom(
  connection: NatsConnection,
  stream: string,
  bytes: number,
  timeoutMs: number,
): Promise<void> {
  const manager = await jetstreamManager(connection, { checkAPI: false, timeout: timeoutMs });
  const info = await manager.streams.info(stream).catch((cause: unknown) => {
    // It is made when the message is published.
    if (cause instanceof JetStreamApiError && cause.status === NO_STREAM) return null;
    throw cause;
  });
  const maxBytes = info?.config.max_bytes ?? -1;
  if (info === null || maxBytes < 0 || info.state.bytes + bytes <= fullAtBytes(maxBytes)) return;
  throw new MillraceError(
    "E_SINK_FULL",
    `maximum bytes exceeded: stream ${stream} holds ${info.state.bytes} of ${maxBytes} bytes, and this server` +
      ` (${connection.info?.version}) drops what it has acknowledged when it is full; let hubs read it, raise maxBytes, or` +
      ` update nats-server to ${MENDED.join(".")} or later`,
  );
}
