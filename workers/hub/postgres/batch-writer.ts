import { createHash } from "node:crypto";
import type { ResultRow } from "../../messages.ts";
import type { Batch, BatchHeader, BlockItem, RowsItem, StreamForm } from "../../sync/batch.ts";
import { blockDigest } from "../../sync/block-digest.ts";
import {
  type ClearedResults,
  decodeAlerts,
  decodeAttributes,
  decodeLosses,
  decodeResults,
} from "../../sync/rows.ts";
import type { Received } from "../batch-writer.ts";
import { type IdentityCase, judgeIdentity } from "../edge-identity.ts";
import type { HubAttributeLimits } from "../edge-news.ts";
import {
  type EdgeRow,
  type IncarnationRow,
  knownEdge,
  knownIncarnation,
  type Origin,
} from "../edge-registry.ts";
import { type StartRow, startTotals, totalsOf } from "../fork-totals.ts";
import { writeAttributes } from "./attribute-writer.ts";
import { AUDIT_SQL, booksOf } from "./audit.ts";
import { cleanText } from "./clean-text.ts";
import type { Session } from "./connection.ts";
import { COPY_EVENTS, type EventRows } from "./event-rows.ts";
import { keyTexts } from "./key-texts.ts";
import { WRITES } from "./statements.ts";

/** A batch that was read and found good. */
export interface GoodBatch {
  readonly batch: Batch;
  readonly wireBytes: number;
}

interface NewBlock {
  readonly item: BlockItem;
  readonly blockId: number;
  readonly streamId: number;
}

/** What is known of the database from transactions that were committed. */
export interface Known {
  readonly streams: Map<string, number>;
  /** The longest window of a query, µs. */
  readonly spans: Map<string, number>;
}

/**
 * Writes batches as `BatchWriter` does for SQLite, in one transaction of PostgreSQL. An edge's batches are written one after
 * the other, whichever hub has them (an advisory lock), so what one transaction finds missing no other adds meanwhile.
 */
export class PostgresBatchWriter {
  readonly #session: Session;
  readonly #events: EventRows;
  readonly #known: Known;
  readonly #nowUs: number;
  readonly #limits: HubAttributeLimits;
  /** Becomes known once this is committed. */
  readonly found: Known = { streams: new Map(), spans: new Map() };

  constructor(
    session: Session,
    events: EventRows,
    known: Known,
    { nowUs, limits }: { readonly nowUs: number; readonly limits: HubAttributeLimits },
  ) {
    this.#limits = limits;
    this.#session = session;
    this.#events = events;
    this.#known = known;
    this.#nowUs = nowUs;
  }

  async write(batches: readonly GoodBatch[]): Promise<Received[]> {
    const locks = [...new Set(batches.map(({ batch }) => lockOf(batch.header.edge)))].sort((a, b) => a - b);
    await this.#session.rows(WRITES.lockEdges, [JSON.stringify(locks)]);
    await this.#session.rows(WRITES.makeDurable);
    const answers: Received[] = [];
    for (const { batch, wireBytes } of batches) answers.push(await this.#writeBatch(batch, wireBytes));
    return answers;
  }

  async #writeBatch({ header, items }: Batch, wireBytes: number): Promise<Received> {
    const blocks = items.filter((item) => item.kind === "block");
    const streams = await this.#streamIds([
      ...header.streams.map(({ stream }) => stream),
      ...header.totals.map(({ stream }) => stream),
      ...blocks.map(({ stream }) => stream),
    ]);
    const origin = await this.#register(header, streams);
    const { edgeId } = origin;
    let { latest, identity } = origin;
    let refusedAttributes = 0;
    if ((await this.#session.run(WRITES.addBatch, [edgeId, header.key, this.#nowUs])) === 0) {
      await this.#session.run(WRITES.countDuplicate, [edgeId]);
      return { stored: 0, isDuplicate: true, news: { latest, refusedAttributes, identity } };
    }
    await this.#session.run(WRITES.countBatch, [edgeId, wireBytes]);
    let stored = 0;
    if (blocks.length > 0) {
      const written = await this.#writeBlocks(origin, header, blocks, streams);
      stored = written.count;
      if (written.hasConflict) await this.#addWays(origin.incarnationId, null);
      if (written.hasConflict && identity === null) {
        identity = "replayed";
        await this.#notice(origin, identity);
      }
    }
    for (const item of items) {
      if (item.kind === "block") continue;
      if (item.kind !== "attributes") {
        stored += await this.#writeRows(origin, item.kind, item);
        continue;
      }
      const context = { latest, nowUs: this.#nowUs, limits: this.#limits };
      const written = await writeAttributes(this.#session, origin, decodeAttributes(item.ndjson), context);
      stored += written.stored;
      refusedAttributes += written.refused;
      latest = written.latest;
    }
    return { stored, isDuplicate: false, news: { latest, refusedAttributes, identity } };
  }

  async #register(header: BatchHeader, streams: ReadonlyMap<string, number>): Promise<Origin> {
    const { edge, incarnation, start, createdUs } = header;
    const nowUs = this.#nowUs;
    const [seen] = await this.#session.rows<EdgeRow>(WRITES.seeEdge, [edge, nowUs]);
    const [ofEdge = none("edge")] =
      seen === undefined ? await this.#session.rows<EdgeRow>(WRITES.addEdge, [edge, nowUs]) : [seen];
    const edgeId = ofEdge.id;
    const [known] = await this.#session.rows<IncarnationRow>(WRITES.seeIncarnation, [
      edgeId,
      incarnation,
      nowUs,
    ]);
    const [row = none("incarnation")] =
      known === undefined
        ? await this.#session.rows<IncarnationRow>(WRITES.addIncarnation, [
            edgeId,
            incarnation,
            nowUs,
            start.number,
            start.id,
          ])
        : [known];
    const incarnationId = row.id;
    const isNew = (await this.#session.run(WRITES.addStart, [incarnationId, start.number, start.id])) > 0;
    const isNumberTaken =
      isNew &&
      (await this.#session.rows(WRITES.isNumberTaken, [incarnationId, start.number, start.id])).length > 0;
    const verdict = judgeIdentity(header, knownIncarnation(row, isNew, start.id), knownEdge(ofEdge), {
      isNew,
      isNumberTaken,
    });
    if (verdict.isCopy) await this.#session.run(WRITES.noticeCopy, [incarnationId]);
    if (verdict.setStart) await this.#session.run(WRITES.setStart, [incarnationId, start.number, start.id]);
    if (verdict.setCurrentStart)
      await this.#session.run(WRITES.setCurrentStart, [incarnationId, start.id, createdUs]);
    if (verdict.setCurrent)
      await this.#session.run(WRITES.setCurrent, [
        edgeId,
        incarnation,
        createdUs,
        String(verdict.hasReturned),
      ]);
    const { ms, counter } = ofEdge;
    const told = row.noticeStart === start.id ? row.notice : null;
    const origin = { edgeId, incarnationId, incarnation, startId: start.id, latest: { ms, counter } };
    if (verdict.noticed !== null) await this.#notice(origin, verdict.noticed);
    const idOf = (stream: string): number => streams.get(stream) ?? none("stream");
    const forms = lastOf(header.streams, ({ stream }) => stream).map(({ stream, timeField, keyFields }) => ({
      streamId: idOf(stream),
      timeField: cleanText(timeField),
      keyFields: keyFields.map(cleanText),
    }));
    if (forms.length > 0) await this.#session.run(WRITES.setForms, [edgeId, JSON.stringify(forms)]);
    const totals = lastOf(header.totals, ({ stream }) => stream).map(({ stream, ...counts }) => ({
      streamId: idOf(stream),
      ...counts,
    }));
    if (totals.length > 0) {
      const json = JSON.stringify(totals);
      const news = await this.#session.rows<{ streamId: number }>(WRITES.setStartTotals, [
        incarnationId,
        start.id,
        json,
      ]);
      await this.#session.run(WRITES.setTotals, [incarnationId, json]);
      if (row.isForked && news.length > 0)
        await this.#addWays(
          incarnationId,
          news.map(({ streamId }) => streamId),
        );
    }
    if (verdict.isCopy) await this.#addWays(incarnationId, null);
    return { ...origin, identity: verdict.noticed ?? told };
  }

  /** The data directory went several ways: what each of them counted adds up. */
  async #addWays(incarnationId: number, streams: readonly number[] | null): Promise<void> {
    type Row = StartRow & { readonly streamId: number };
    const of = streams === null ? null : JSON.stringify(streams);
    const rows = await this.#session.rows<Row>(WRITES.ofStarts, [incarnationId, of]);
    const totals = [...new Set(rows.map(({ streamId }) => streamId))].map((streamId) => {
      const starts = rows.filter((each) => each.streamId === streamId);
      return { streamId, ...totalsOf(starts.map(startTotals)) };
    });
    if (totals.length > 0) await this.#session.run(WRITES.setTotals, [incarnationId, JSON.stringify(totals)]);
  }

  async #notice(
    { edgeId, incarnationId, startId }: Pick<Origin, "edgeId" | "incarnationId" | "startId">,
    kind: IdentityCase,
  ): Promise<void> {
    await this.#session.run(WRITES.notice, [incarnationId, kind, startId]);
    await this.#session.run(WRITES.countCase, [edgeId, incarnationId, kind, this.#nowUs]);
  }

  async #streamIds(names: readonly string[]): Promise<ReadonlyMap<string, number>> {
    const all = [...new Set(names)];
    const isKnown = (name: string): boolean => this.#known.streams.has(name) || this.found.streams.has(name);
    const missing = all.filter((name) => !isKnown(name)).sort();
    if (missing.length > 0) {
      const json = JSON.stringify(missing);
      await this.#session.run(WRITES.addStreams, [json]);
      for (const { id, name } of await this.#session.rows<{ id: number; name: string }>(WRITES.findStreams, [
        json,
      ]))
        this.found.streams.set(name, id);
    }
    return new Map(
      all.map((name) => [
        name,
        this.#known.streams.get(name) ?? this.found.streams.get(name) ?? none("stream"),
      ]),
    );
  }

  async #writeBlocks(
    { edgeId, incarnationId }: Origin,
    header: BatchHeader,
    items: readonly BlockItem[],
    streams: ReadonlyMap<string, number>,
  ): Promise<{ count: number; hasConflict: boolean }> {
    const rows = items.map((item) => ({
      streamId: streams.get(item.stream) ?? none("stream"),
      seq: item.id,
      digest: item.digest ?? blockDigest(item.data),
      arrivalUs: item.arrivalUs,
      count: item.count,
      bytes: item.data.length,
      resolutionUs: item.resolutionUs,
    }));
    type Added = { id: number; seq: number; digest: string };
    const parameters = [edgeId, incarnationId, this.#nowUs, JSON.stringify(rows)];
    const added = await this.#session.rows<Added>(WRITES.addBlocks, parameters);
    const fresh = added
      .map(({ id: blockId, seq, digest }): NewBlock => {
        const at = rows.findIndex((row) => row.seq === seq && row.digest === digest);
        return { item: items[at] ?? none("block"), blockId, streamId: rows[at]!.streamId };
      })
      .sort((a, b) => a.blockId - b.blockId);
    if (fresh.length === 0) return { count: 0, hasConflict: false };
    // Two blocks of one place: the data directory was copied or put back, and went two ways. Both hold events.
    const noticed = await this.#session.run(WRITES.noticeConflicts, [incarnationId, fresh[0]!.blockId]);
    await this.#session.run(WRITES.countEvents, [edgeId, JSON.stringify(countsOf(fresh))]);
    const sums: Parameters<typeof booksOf>[0][number][] = [];
    await this.#session.copyInto(COPY_EVENTS, this.#copy(fresh, edgeId, header.streams, sums));
    await this.#session.run(AUDIT_SQL.book, [incarnationId, JSON.stringify(booksOf(sums))]);
    return { count: fresh.reduce((sum, { item }) => sum + item.count, 0), hasConflict: noticed > 0 };
  }

  *#copy(
    blocks: readonly NewBlock[],
    edgeId: number,
    forms: readonly StreamForm[],
    sums: Parameters<typeof booksOf>[0][number][],
  ): Generator<Buffer, void, void> {
    for (const [index, { item, blockId, streamId }] of blocks.entries()) {
      const form = forms.find(({ stream }) => stream === item.stream) ?? { timeField: "ts", keyFields: [] };
      yield* this.#events.portions(item, { blockId, streamId, edgeId }, form, index === 0 ? "head" : "more");
      sums.push({ streamId, resolutionUs: item.resolutionUs, hours: this.#events.sums });
    }
    yield COPY_END;
  }

  #writeRows(origin: Origin, kind: Exclude<RowsItem["kind"], "attributes">, item: RowsItem): Promise<number> {
    switch (kind) {
      case "results":
        return this.#writeResults(origin, item.id, decodeResults(item.ndjson));
      case "alerts":
        return this.#writeAlerts(origin, item);
      case "losses":
        return this.#writeLosses(origin, item);
    }
  }

  async #writeResults(
    origin: Origin,
    version: number,
    rows: readonly (ResultRow | ClearedResults)[],
  ): Promise<number> {
    const { edgeId, incarnationId } = origin;
    let stored = 0;
    let run: ResultRow[] = [];
    const flush = async (): Promise<void> => {
      if (run.length > 0) stored += await this.#setResults(origin, version, run);
      run = [];
    };
    for (const row of rows) {
      if (!("clear" in row)) {
        run.push(row);
        continue;
      }
      await flush();
      const cleared = [edgeId, cleanText(row.clear), incarnationId, row.fromUs, version];
      await this.#session.run(WRITES.clear, cleared);
      await this.#session.run(WRITES.dropCleared, cleared);
    }
    await flush();
    return stored;
  }

  async #setResults(origin: Origin, version: number, rows: readonly ResultRow[]): Promise<number> {
    const named = rows.map(({ query, key, values, retracted, ...row }) => ({
      ...row,
      query: cleanText(query),
      key: cleanText(key),
      keyTexts: keyTexts(key),
      values: cleanText(values),
      retracted: retracted === true,
    }));
    // One statement touches a row once: of those of one name the last holds.
    const last = lastOf(named, ({ query, startUs, endUs, key, revision }) =>
      JSON.stringify([query, startUs, endUs, key, revision]),
    );
    const parameters = [origin.edgeId, origin.incarnationId, version, JSON.stringify(last)];
    const stored = await this.#session.run(WRITES.setResults, parameters);
    for (const { query, startUs, endUs } of last) {
      const longest = this.found.spans.get(query) ?? this.#known.spans.get(query) ?? -1;
      if (endUs - startUs > longest) this.found.spans.set(query, endUs - startUs);
    }
    for (const [query, us] of this.found.spans)
      if (us > (this.#known.spans.get(query) ?? -1)) await this.#session.run(WRITES.setSpan, [query, us]);
    return stored;
  }

  async #writeAlerts({ edgeId }: Origin, { ndjson }: RowsItem): Promise<number> {
    const rows = decodeAlerts(ndjson).map((row) => ({
      ...row,
      alert: cleanText(row.alert),
      key: cleanText(row.key),
      id: cleanText(row.id),
      definition: cleanText(row.definition),
      severity: cleanText(row.severity),
      value: cleanText(row.value),
      keyTexts: keyTexts(row.key),
    }));
    if (rows.length === 0) return 0;
    const json = JSON.stringify(rows);
    const stored = await this.#session.run(WRITES.addAlerts, [edgeId, json]);
    if (stored > 0) await this.#session.run(WRITES.markLatest, [edgeId, json]);
    return stored;
  }

  async #writeLosses({ edgeId, incarnationId }: Origin, { id, ndjson }: RowsItem): Promise<number> {
    const rows = decodeLosses(ndjson).map((row) => ({
      ...row,
      stream: row.stream === null ? null : cleanText(row.stream),
      reason: cleanText(row.reason),
      kind: cleanText(row.kind),
      subject: row.subject === null ? null : cleanText(row.subject),
    }));
    if (rows.length === 0) return 0;
    return this.#session.run(WRITES.addLosses, [edgeId, incarnationId, id, JSON.stringify(rows)]);
  }
}

/** The end of a binary COPY. */
const COPY_END = Buffer.from([0xff, 0xff]);

/** Rows of aggregates are no events. */
function countsOf(blocks: readonly NewBlock[]): object[] {
  const counts = new Map<number, { streamId: number; events: number; bytes: number }>();
  for (const { streamId, item } of blocks) {
    const count = counts.get(streamId) ?? { streamId, events: 0, bytes: 0 };
    count.events += item.resolutionUs === 0 ? item.count : 0;
    count.bytes += item.data.length;
    counts.set(streamId, count);
  }
  return [...counts.values()];
}

/** The last of each name, in the order of the names' first. */
function lastOf<Row>(rows: readonly Row[], nameOf: (row: Row) => string): Row[] {
  return [...new Map(rows.map((row) => [nameOf(row), row])).values()];
}

/** A number that stands for an edge; two edges of one number only wait for each other. */
function lockOf(edge: string): number {
  return createHash("sha256").update(edge).digest().readInt32BE(0);
}

function none(what: string): never {
  throw new Error(`PostgreSQL did not give the ${what} that was asked for`);
}
