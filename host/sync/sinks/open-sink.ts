import type { PackForm } from "../../../workers/sync.ts";
import type { SinkTarget } from "../../config/sink-config.ts";
import { unreachable } from "../failure-text.ts";
import type { Delivery, OutgoingBatch, Sink } from "../sink.ts";
import type { SinkParts } from "./sink-parts.ts";

/** A sink of any kind. Its code is loaded when there is something to send: what is not configured takes no memory. */
export function openSink(parts: SinkParts): Sink {
  return new LazySink(parts);
}

class LazySink implements Sink {
  readonly name: string;
  readonly form: PackForm;
  readonly #parts: SinkParts;
  #loading: Promise<Sink> | null = null;
  #sink: Sink | null = null;

  constructor(parts: SinkParts) {
    this.name = parts.name;
    this.form = formOf(parts.target);
    this.#parts = parts;
  }

  largestBytes(): number | null {
    return this.#sink?.largestBytes?.() ?? null;
  }

  async deliver(batch: OutgoingBatch, signal: AbortSignal): Promise<Delivery> {
    try {
      const bytes = batch.tables.reduce((sum, { body }) => sum + body.length, batch.body.length);
      await this.#parts.bucket?.take(bytes, signal);
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
    this.#loading ??= load(this.#parts);
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

async function load({ target, ...shared }: SinkParts): Promise<Sink> {
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
