import type { PackForm } from "../../../workers/sync.ts";
import type { SinkTarget } from "../../config/sink-config.ts";
import type { ByteBucket } from "../byte-bucket.ts";
import { unreachable } from "../failure-text.ts";
import type { Delivery, OutgoingBatch, Sink } from "../sink.ts";
import type { SinkParts } from "./sink-parts.ts";

/**
 * A sink of any kind. Its code is loaded when there is something to send: what is not configured takes no memory.
 * `bucket` is the line's share; null: no cap.
 */
export function openSink(parts: SinkParts, bucket: ByteBucket | null): Sink {
  return new LazySink(parts, bucket);
}

class LazySink implements Sink {
  readonly name: string;
  readonly form: PackForm;
  readonly #parts: SinkParts;
  readonly #bucket: ByteBucket | null;
  #loading: Promise<Sink> | null = null;
  #sink: Sink | null = null;

  constructor(parts: SinkParts, bucket: ByteBucket | null) {
    this.name = parts.name;
    this.form = formOf(parts.target);
    this.#parts = parts;
    this.#bucket = bucket;
  }

  largestBytes(): number | null {
    return this.#sink?.largestBytes?.() ?? null;
  }

  async deliver(batch: OutgoingBatch, signal: AbortSignal): Promise<Delivery> {
    try {
      const bytes = batch.tables.reduce((sum, { body }) => sum + body.length, batch.body.length);
      await this.#bucket?.take(bytes, signal);
      const sink = await this.#load();
      return await sink.deliver(batch, signal);
    } catch (cause) {
      return unreachable(cause);
    }
  }

  async probe(signal: AbortSignal): Promise<boolean> {
    try {
      return await (await this.#load()).probe(signal);
    } catch {
      return false;
    }
  }

  async close(): Promise<void> {
    await (await this.#loading)?.close();
  }

  async #load(): Promise<Sink> {
    this.#loading ??= load(this.#parts, this.form);
    this.#sink = await this.#loading;
    return this.#sink;
  }
}

function formOf(target: SinkTarget): PackForm {
  switch (target.kind) {
    case "nats":
      return "wire";
    case "postgres":
      return "ndjson";
    case "kafka":
      return target.format === "batch" ? "wire" : "ndjson";
    default:
      return target.format;
  }
}

/** Clients of servers run on a thread of their own. */
async function load({ target, ...shared }: SinkParts, form: PackForm): Promise<Sink> {
  if (target.kind === "file") return new (await import("./file-sink.ts")).FileSink({ ...shared, target });
  return new (await import("./threaded-sink.ts")).ThreadedSink({ ...shared, target }, form);
}
