import { createHash, randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { parseDurationUs } from "../config/durations.ts";
import { formatBytes } from "../config/sizes.ts";
import { type Batch, type BatchSize, readBatches, type Source } from "./batches.ts";
import { CommandError, nodeUrl } from "./client.ts";
import { type Answer, Courier } from "./delivery.ts";
import { EXIT, finish, print, warn } from "./output.ts";
import { formatCount, Progress } from "./progress.ts";
import { findSources } from "./sources.ts";
import type { SendFormat } from "./splitters.ts";

export interface SendOptions {
  readonly url?: string;
  readonly rate?: number;
  readonly batch?: number;
  readonly format?: SendFormat;
  readonly name?: string;
  readonly patience: string;
  readonly end?: true;
  readonly again?: true;
  readonly json?: true;
}

interface Totals {
  batches: number;
  events: number;
  accepted: number;
  duplicates: number;
  deadLettered: number;
  sourceBytes: number;
}

const BATCH_RECORDS = 4_000;
const BATCH_BYTES = 1024 * 1024;
/** With --rate, small batches make an even flow. */
const BATCHES_A_SECOND = 10;
/** A node that was never reached is given up sooner. */
const FIRST_PATIENCE_MS = 5_000;
/** Lines set aside that are shown; the node keeps them all. */
const MAX_SHOWN_ERRORS = 10;

/** `millrace send STREAM [FILE…]`: sends in order, a batch at a time, each under an idempotency key. */
export async function send(stream: string, names: readonly string[], options: SendOptions): Promise<void> {
  const patienceUs = parseDurationUs(options.patience);
  if (patienceUs === null)
    throw new CommandError(EXIT.usage, "--patience must be a duration; write it like 30s or 5m");
  const run = randomUUID();
  const sources = findSources(names, options.name ?? null, run);
  const sizes = sources.map(({ sizeBytes }) => sizeBytes);
  const progress = new Progress(
    sizes.reduce((sum, bytes) => (sum === null || bytes === null ? null : sum + bytes), 0),
  );
  const patienceMs = patienceUs / 1_000;
  const sender = new Sender({
    stream,
    url: `${nodeUrl(options.url)}/v1/streams/${encodeURIComponent(stream)}`,
    run: options.again ? run : null,
    rate: options.rate ?? null,
    progress,
    courier: new Courier({
      patienceMs,
      firstPatienceMs: Math.min(patienceMs, FIRST_PATIENCE_MS),
      onWait: (reason, waitMs) => progress.note(`waiting ${Math.ceil(waitMs / 1_000)} s (${reason})`),
    }),
  });
  const startMs = performance.now();
  try {
    for (const source of sources) await sender.sendSource(source, options.format ?? null, batchSize(options));
    const watermark = options.end ? await sender.endStream() : undefined;
    progress.clear();
    const seconds = (performance.now() - startMs) / 1_000;
    report(sender.totals, {
      stream,
      sources: sources.length,
      seconds,
      watermark,
      isJson: options.json === true,
    });
  } catch (cause) {
    progress.clear();
    if (sender.totals.batches > 0) {
      const { batches, events } = sender.totals;
      warn(
        `${formatCount(events)} events in ${batches} batches were sent before this; the same command again goes on from there`,
      );
    }
    throw cause;
  }
}

function batchSize({ batch, rate }: SendOptions): BatchSize {
  const even = rate === undefined ? BATCH_RECORDS : Math.ceil(rate / BATCHES_A_SECOND);
  return { records: batch ?? Math.min(BATCH_RECORDS, even), bytes: BATCH_BYTES };
}

interface SenderParts {
  readonly stream: string;
  readonly url: string;
  /** Set when keys must be new in this run. */
  readonly run: string | null;
  /** Events a second; null: as fast as they are taken. */
  readonly rate: number | null;
  readonly courier: Courier;
  readonly progress: Progress;
}

class Sender {
  readonly totals: Totals = {
    batches: 0,
    events: 0,
    accepted: 0,
    duplicates: 0,
    deadLettered: 0,
    sourceBytes: 0,
  };
  readonly #parts: SenderParts;
  readonly #startMs = performance.now();
  #shownErrors = 0;

  constructor(parts: SenderParts) {
    this.#parts = parts;
  }

  async sendSource(source: Source, format: SendFormat | null, size: BatchSize): Promise<void> {
    const batches = readBatches(source, format, size);
    let next = batches.next();
    for (let batch = await next; !batch.done; batch = await next) {
      const sent = this.#sendBatch(source, batch.value);
      // The next batch is cut while this one is on its way. What goes wrong there is met when its turn comes.
      next = batches.next();
      next.catch(() => {});
      await sent;
      await this.#pace();
    }
  }

  /** Says that no more is to come. @returns the stream's watermark. */
  async endStream(): Promise<unknown> {
    const headers = { "content-type": "application/json" };
    const answer = await this.#parts.courier.deliver({
      url: `${this.#parts.url}/watermark`,
      headers,
      body: '{"end":true}',
    });
    return answer.content.watermark ?? null;
  }

  async #sendBatch(source: Source, batch: Batch): Promise<void> {
    const { stream, url, run, courier, progress } = this.#parts;
    const headers = {
      "content-type": batch.contentType,
      "idempotency-key": batchKey(
        stream,
        run === null ? source.identity : `${run}:${source.identity}`,
        batch,
      ),
    };
    const answer = await courier.deliver({ url: `${url}/events`, headers, body: batch.body });
    this.#count(source, batch, answer);
    progress.update(this.totals.sourceBytes, this.totals.events);
  }

  #count(source: Source, batch: Batch, { status, content }: Answer): void {
    const { accepted, deadLettered = 0, duplicate, detail } = content;
    if (typeof accepted !== "number" || typeof deadLettered !== "number") {
      throw new CommandError(
        EXIT.failed,
        `the node answered ${status}: ${String(detail ?? JSON.stringify(content))}`,
      );
    }
    this.totals.batches++;
    this.totals.events += batch.records;
    this.totals.sourceBytes += batch.sourceBytes;
    if (duplicate === true) {
      this.totals.duplicates += accepted + deadLettered;
      return;
    }
    this.totals.accepted += accepted;
    this.totals.deadLettered += deadLettered;
    this.#showErrors(source, batch, content.errors);
  }

  #showErrors(source: Source, batch: Batch, errors: unknown): void {
    for (const error of Array.isArray(errors) ? (errors as unknown[]) : []) {
      if (this.#shownErrors >= MAX_SHOWN_ERRORS) return;
      this.#shownErrors++;
      const { line, message } = error as { line?: unknown; message?: unknown };
      const at = typeof line === "number" ? placeOf(line, batch) : undefined;
      this.#parts.progress.clear();
      warn(`${source.label}:${at ?? "?"}: set aside: ${String(message)}`);
    }
  }

  /** Waits until so many events are due. */
  async #pace(): Promise<void> {
    const { rate } = this.#parts;
    if (rate === null) return;
    const dueMs = this.#startMs + (this.totals.events / rate) * 1_000;
    const waitMs = dueMs - performance.now();
    if (waitMs > 0) await sleep(waitMs);
  }
}

/** The same for the same batch of the same source, whenever it is sent. */
function batchKey(stream: string, identity: string, { index, body }: Batch): string {
  const hash = createHash("sha256");
  hash.update(`${stream}\n${identity}\n${index}\n`);
  return hash.update(body).digest("hex");
}

interface Summary {
  readonly stream: string;
  readonly sources: number;
  readonly seconds: number;
  readonly watermark: unknown;
  readonly isJson: boolean;
}

function report(totals: Totals, { stream, sources, seconds, watermark, isJson }: Summary): void {
  const { batches, events, accepted, duplicates, deadLettered, sourceBytes } = totals;
  if (isJson) {
    const figures = { events, accepted, duplicates, deadLettered, batches, bytes: sourceBytes };
    print(JSON.stringify({ stream, sources, ...figures, seconds: Number(seconds.toFixed(3)), watermark }));
  } else {
    const parts = [
      `${formatCount(accepted)} accepted`,
      ...(duplicates > 0 ? [`${formatCount(duplicates)} sent before`] : []),
      ...(deadLettered > 0 ? [`${formatCount(deadLettered)} set aside (millrace dlq)`] : []),
      ...(watermark === undefined ? [] : ["all windows closed"]),
    ];
    const rate = `${formatBytes(sourceBytes)} in ${seconds.toFixed(1)} s, ${formatCount(events / Math.max(seconds, 1e-3))} events/s`;
    print(`${stream}: ${parts.join(", ")} (${rate})`);
  }
  if (accepted + duplicates === 0 && deadLettered > 0) finish(EXIT.failed);
}

/** The line of the source that a line of the request is; its header stands in front of each request. */
function placeOf(line: number, { headerLines, lines }: Batch): number | undefined {
  return line <= headerLines ? line : lines[line - 1 - headerLines];
}
