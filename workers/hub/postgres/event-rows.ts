import {
  type BatchHandle,
  type BatchReader,
  type ColumnReader,
  decodeBlock,
  newBatch,
  readColumns,
  resetBatch,
} from "../../core/codec.ts";
import { EventPage, openBatch, selectRows } from "../../core/event-page.ts";
import { type HourSum, sumEvents } from "../../core/event-sums.ts";
import { type CoreModule, instantiateCore } from "../../core/module.ts";
import { createEventWriter, valueText } from "../../query/event-json.ts";
import type { BlockItem, StreamForm } from "../../sync/batch.ts";
import type { Codec } from "../../zstd.ts";
import { cleanJson, cleanText } from "./clean-text.ts";
import { CopyRows } from "./copy-rows.ts";

/** The columns of each row, in their order. */
export const COPY_EVENTS =
  'COPY event_rows (time, block_id, stream_id, edge_id, "row", key, other_keys, event, original) FROM STDIN (FORMAT binary)';
const FIELDS = 9;
/** Rows written as JSON at once: what is in memory of a block beside its columns. */
const PORTION_ROWS = 10_000;
const PORTION_BYTES = 64 * 1024 * 1024;
/** WASM memory only grows: after a block that needed more than this, the core is exchanged for a new one. */
const KEPT_MEMORY_BYTES = 64 * 1024 * 1024;
/** Beyond every event's time. */
const [FIRST_US, LAST_US] = [-(2n ** 62n), 2n ** 62n];
/** Where none of these is, nothing is to be cleaned. */
const UNREADABLE = ["\\u0000", "\\ud", "\\uD"];
const LINE_END = 0x0a;

/** A block's place in the database. */
export interface BlockPlace {
  readonly blockId: number;
  readonly streamId: number;
  readonly edgeId: number;
}

/** Makes rows of blocks: each event as the JSON text that a node answers, and its key. */
export class EventRows {
  readonly #codec: Codec;
  #core: CoreModule;
  #batch: BatchHandle;
  #page: EventPage;
  /** What the events of the block that was opened last come to, by hours. */
  sums: readonly HourSum[] = [];

  constructor(codec: Codec) {
    this.#codec = codec;
    this.#core = instantiateCore();
    this.#batch = newBatch(this.#core);
    this.#page = new EventPage(this.#core);
  }

  /** COPY's bytes for a block that was verified, a portion at a time, in the order of (time, row); with COPY's head or without. */
  *portions(
    item: BlockItem,
    place: BlockPlace,
    form: Omit<StreamForm, "stream">,
    where: "head" | "more",
  ): Generator<Buffer, void, void> {
    const rows = this.#open(item);
    const keys = keyColumns(rows, form.keyFields);
    const open = openBatch(this.#core, this.#batch, form.timeField, createEventWriter);
    try {
      const out = new CopyRows();
      if (where === "head") out.head();
      let after: { readonly timeUs: bigint; readonly skipBelow: number } | null = null;
      for (let done = 0; done < rows.rows; ) {
        this.#page.begin(PORTION_ROWS, PORTION_BYTES);
        const fromUs: bigint = after?.timeUs ?? FIRST_US;
        const selection = { fromUs, lastUs: LAST_US, after, keyFields: [], key: null };
        this.#page.add(open, 0, selectRows(this.#core, open, selection));
        const { count } = this.#page;
        if (count === 0) throw new Error(`block ${item.id} gave ${done} of ${rows.rows} rows`);
        const places = Array.from({ length: count }, (_, index) => this.#page.place(index));
        const finished = this.#page.finish(count);
        const ndjson = Buffer.from(finished.buffer, finished.byteOffset, finished.length);
        const isPlain = !UNREADABLE.some((text) => ndjson.includes(text));
        let at = 0;
        for (const { timeUs, row } of places) {
          const end = ndjson.indexOf(LINE_END, at);
          out.begin(FIELDS);
          out.time(timeUs);
          out.int8(place.blockId);
          out.int4(place.streamId);
          out.int4(place.edgeId);
          out.int4(row);
          writeKeys(out, keys, row);
          writeEvent(out, ndjson.subarray(at, end), isPlain);
          at = end + 1;
        }
        yield out.take();
        const last = places[count - 1]!;
        after = { timeUs: last.timeUs, skipBelow: last.row + 1 };
        done += count;
      }
    } finally {
      open.dispose();
    }
  }

  #open({ codec, data, encodedBytes }: BlockItem): BatchReader {
    if (this.#core.memory.buffer.byteLength > KEPT_MEMORY_BYTES) {
      this.#core = instantiateCore();
      this.#batch = newBatch(this.#core);
      this.#page = new EventPage(this.#core);
    } else resetBatch(this.#core, this.#batch);
    decodeBlock(
      this.#core,
      codec === "zstd" ? this.#codec.decompress(data, encodedBytes) : data,
      this.#batch,
    );
    this.sums = sumEvents(this.#core, this.#batch);
    return readColumns(this.#core, this.#batch);
  }
}

/** As SQL can read it, and what came where that differs. */
function writeEvent(out: CopyRows, json: Buffer, isPlain: boolean): void {
  const original = isPlain ? null : json.toString();
  const clean = original === null ? null : cleanJson(original);
  if (clean === null || clean === original) out.bytesField(json);
  else out.text(clean);
  out.text(clean === original ? null : original);
}

/** In the order of the fields. Values of mixed types, kept verbatim, are no keys. */
function keyColumns({ columns }: BatchReader, fields: readonly string[]): ColumnReader[] {
  return fields.flatMap((field) => columns.filter(({ name, type }) => name === field && type !== "raw"));
}

/** The first that an event has names its key; it is found by the others as well. */
function writeKeys(out: CopyRows, columns: readonly ColumnReader[], row: number): void {
  let first: string | null = null;
  let others: string[] | null = null;
  for (const column of columns) {
    const value = column.valueAt(row);
    if (value === null) continue;
    const text = valueText(value);
    const clean = text.includes("\0") || !text.isWellFormed() ? cleanText(text) : text;
    if (first === null) first = clean;
    else others = [...(others ?? []), clean];
  }
  out.text(first);
  out.texts(others ?? []);
}
