import { MultipleErrors, Producer } from "@platformatic/kafka";
import { linesOf } from "../../../workers/sync/outgoing-table.ts";
import type { PackForm } from "../../../workers/sync.ts";
import type { KafkaTarget } from "../../config/sink-config.ts";
import { failureText, rejected, unreachable } from "../failure-text.ts";
import type { Delivery, OutgoingBatch, Sink } from "../sink.ts";
import { inTime } from "./in-time.ts";
import type { SinkParts } from "./sink-parts.ts";

type Message = Parameters<Producer["send"]>[0]["messages"][number];

/** Of values in one request. A broker takes a MiB (`message.max.bytes`), keys and headers with them. */
const REQUEST_BYTES = 512 * 1024;
/** About what a record takes beside its value: key, headers. */
const RECORD_BYTES = 160;
/** As stored, of a batch that is one record. */
const BATCH_BYTES = 640 * 1024;
/** What brokers say of a record itself. */
const REJECTED = new Set(["MESSAGE_TOO_LARGE", "RECORD_LIST_TOO_LARGE", "INVALID_RECORD"]);

/**
 * Records in a topic of Kafka, written by an idempotent producer and acknowledged by all replicas in sync. The batch's key is
 * the key of its records, so all are in one partition, in their order, each with its number in the header `millrace-row`: a
 * batch that was not acknowledged whole is sent again whole, and a consumer passes over (key, number) that it has seen.
 */
export class KafkaSink implements Sink {
  readonly name: string;
  readonly form: PackForm;
  readonly #parts: SinkParts<KafkaTarget>;
  #producer: Producer | null = null;

  constructor(parts: SinkParts<KafkaTarget>) {
    this.name = parts.name;
    this.form = parts.target.format === "batch" ? "wire" : "ndjson";
    this.#parts = parts;
  }

  largestBytes(): number | null {
    return this.form === "wire" ? BATCH_BYTES : null;
  }

  async deliver(batch: OutgoingBatch, signal: AbortSignal): Promise<Delivery> {
    const { timeoutMs } = this.#parts;
    const producer = this.#open();
    try {
      for (const messages of this.#requests(batch))
        await inTime(producer.send({ messages }), timeoutMs, signal);
      return { kind: "delivered", stored: batch.rows, isDuplicate: false };
    } catch (cause) {
      // Its numbers of records would not fit what the broker has.
      this.#drop(producer);
      if (errorsOf(cause).some(({ apiId }) => REJECTED.has(String(apiId)))) return rejected(describe(cause));
      return unreachable(describe(cause));
    }
  }

  async probe(signal: AbortSignal): Promise<boolean> {
    const { timeoutMs, target } = this.#parts;
    const producer = this.#open();
    try {
      await inTime(producer.metadata({ topics: [target.topic], forceUpdate: true }), timeoutMs, signal);
      return true;
    } catch {
      this.#drop(producer);
      return false;
    }
  }

  async close(): Promise<void> {
    const producer = this.#producer;
    this.#producer = null;
    await producer?.close().catch(() => undefined);
  }

  *#requests({ key, body, tables }: OutgoingBatch): Generator<Message[]> {
    const { target, edge } = this.#parts;
    const shared = { topic: target.topic, key: Buffer.from(key) };
    const header = (entries: Readonly<Record<string, string>>): Map<Buffer, Buffer> =>
      new Map(
        Object.entries({ "millrace-edge": edge, ...entries }).map(([name, text]) => [
          Buffer.from(name),
          Buffer.from(text),
        ]),
      );
    if (this.form === "wire") {
      const headers = header({ "content-type": "application/vnd.millrace.batch" });
      yield [{ ...shared, value: Buffer.from(body), headers }];
      return;
    }
    let messages: Message[] = [];
    let bytes = 0;
    let row = 0;
    for (const { kind, name, body: ndjson } of tables)
      for (const line of linesOf(ndjson)) {
        const value = Buffer.from(line);
        if (messages.length > 0 && bytes + value.length + RECORD_BYTES > REQUEST_BYTES) {
          yield messages;
          [messages, bytes] = [[], 0];
        }
        const named = name === null ? {} : { "millrace-name": name };
        messages.push({
          ...shared,
          value,
          headers: header({ "millrace-kind": kind, ...named, "millrace-row": String(row++) }),
        });
        bytes += value.length + RECORD_BYTES;
      }
    if (messages.length > 0) yield messages;
  }

  #open(): Producer {
    const { target, timeoutMs, edge } = this.#parts;
    const { brokers, isTls, sasl } = target;
    this.#producer ??= new Producer({
      clientId: `millrace-${edge}`,
      bootstrapBrokers: [...brokers],
      idempotent: true,
      acks: -1,
      // The runner says when to try again.
      retries: 0,
      timeout: timeoutMs,
      connectTimeout: timeoutMs,
      autocreateTopics: false,
      ...(isTls ? { tls: {} } : {}),
      ...(sasl === null ? {} : { sasl }),
    });
    return this.#producer;
  }

  #drop(producer: Producer): void {
    if (this.#producer === producer) this.#producer = null;
    void producer.close().catch(() => undefined);
  }
}

/** An error and all that it is made of. */
function errorsOf(cause: unknown): (Error & { readonly apiId?: unknown })[] {
  if (!(cause instanceof Error)) return [];
  const inner = cause instanceof MultipleErrors ? cause.errors.flatMap(errorsOf) : [];
  return [cause, ...inner, ...errorsOf(cause.cause)];
}

/** The innermost says most: "… failed" is what those around it say. */
function describe(cause: unknown): string {
  const texts = errorsOf(cause).map((error) =>
    error.apiId === undefined ? error.message : `${String(error.apiId)}: ${error.message}`,
  );
  return texts.length === 0 ? failureText(cause) : [...new Set(texts)].join(": ");
}
