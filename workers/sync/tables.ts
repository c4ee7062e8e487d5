import { MillraceError } from "../errors.ts";
import type { StoredBlock } from "../messages.ts";
import { BlockDecoder } from "../query/block-decoder.ts";
import { BlockScanner, type ScannedBlock } from "../query/block-scanner.ts";
import type { Codec } from "../zstd.ts";
import type { BatchHeader, BatchItem, BlockItem, RowsItem } from "./batch.ts";
import { EventColumns } from "./event-columns.ts";
import { linesOf, type OutgoingTable } from "./outgoing-table.ts";
import { writeParquet } from "./parquet-table.ts";
import { rowTables } from "./row-tables.ts";

export type TableFormat = "ndjson" | "parquet";

/** Whatever time an event has: it is a 64-bit integer of µs. */
const FIRST_US = -(2n ** 63n);
const LAST_US = 2n ** 63n - 1n;
const MAX_PAGE_BYTES = 1024 ** 3;
const utf8 = new TextEncoder();

/** Turns the items of a batch into rows, for sinks that keep rows and not batches. */
export class TableMaker {
  readonly #scanner: BlockScanner;
  readonly #decoder: BlockDecoder;

  constructor(codec: Codec) {
    this.#scanner = new BlockScanner(codec);
    this.#decoder = new BlockDecoder(codec);
  }

  /** @throws MillraceError E_BAD_BLOCK when one of its blocks cannot be read */
  async tables(
    { edge, streams }: Pick<BatchHeader, "edge" | "streams">,
    items: readonly BatchItem[],
    format: TableFormat,
  ): Promise<OutgoingTable[]> {
    const tables: OutgoingTable[] = [];
    for (const [kind, stream, blocks] of byStream(items)) {
      const form = streams.find((known) => known.stream === stream);
      const timeField = form?.timeField ?? "ts";
      const shared = { kind, name: stream, atUs: Math.min(...blocks.map(({ arrivalUs }) => arrivalUs)) };
      if (format === "parquet") {
        const body = await this.#parquet(edge, timeField, blocks);
        const rows = blocks.reduce((sum, { count }) => sum + count, 0);
        tables.push({ ...shared, rows, body, timesUs: null });
      } else tables.push({ ...shared, ...this.#ndjson(edge, timeField, blocks) });
    }
    for (const { kind, name, atUs, lines, columns, values } of rowTables(edge, items.filter(isRows))) {
      const body =
        format === "parquet"
          ? await writeParquet(
              columns,
              columns.map((_, at) => values.map((row) => row[at])),
            )
          : utf8.encode(lines.map((line) => `${line}\n`).join(""));
      tables.push({ kind, name, atUs, rows: lines.length, body, timesUs: null });
    }
    return tables;
  }

  #ndjson(
    edge: string,
    timeField: string,
    blocks: readonly BlockItem[],
  ): Pick<OutgoingTable, "rows" | "body" | "timesUs"> {
    const expected = blocks.reduce((sum, { count }) => sum + count, 0);
    const page = this.#scanner.begin(expected, MAX_PAGE_BYTES);
    const all = {
      fromUs: FIRST_US,
      lastUs: LAST_US,
      after: null,
      keyFields: [],
      key: null,
    };
    for (const block of blocks) this.#check(block, this.#scan(block, timeField, all));
    const rows = page.count;
    if (rows !== expected)
      throw new MillraceError("E_BAD_BLOCK", `blocks of ${expected} events gave ${rows} of them`);
    const timesUs = Float64Array.from({ length: rows }, (_, at) => Number(page.place(at).timeUs));
    const member = `"edge":${JSON.stringify(edge)}}\n`;
    const lines = linesOf(page.finish(rows)).map((line) =>
      line === "{}" ? `{${member}` : `${line.slice(0, -1)},${member}`,
    );
    return { rows, body: utf8.encode(lines.join("")), timesUs };
  }

  #scan(block: BlockItem, timeField: string, selection: Parameters<BlockScanner["add"]>[3]): ScannedBlock {
    try {
      return this.#scanner.add(block.id, blockOf(block), timeField, selection);
    } catch (cause) {
      throw unreadable(block, String(cause));
    }
  }

  async #parquet(
    edge: string,
    timeField: string,
    blocks: readonly BlockItem[],
  ): Promise<Uint8Array<ArrayBuffer>> {
    const columns = new EventColumns(edge, timeField);
    for (const block of blocks) columns.learn(this.#open(block));
    for (const block of blocks) columns.add(this.#open(block), block.count);
    const { columns: names, data } = columns.end();
    return writeParquet(names, data);
  }

  #open(block: BlockItem): Extract<ReturnType<BlockDecoder["open"]>, { readonly kind: "rows" }>["rows"] {
    const opened = this.#decoder.open(blockOf(block));
    if (opened.kind === "unreadable") throw unreadable(block, opened.message);
    this.#check(block, { kind: "rows", count: opened.rows.rows });
    return opened.rows;
  }

  #check(block: BlockItem, found: ScannedBlock): void {
    if (found.kind === "unreadable") throw unreadable(block, found.message);
    if (found.count !== block.count)
      throw unreadable(block, `it holds ${found.count} events, not ${block.count}`);
  }
}

/** Blocks of a stream together; those that hold aggregates of events that had to go are no events. */
function byStream(
  items: readonly BatchItem[],
): [kind: "events" | "downsampled", stream: string, blocks: BlockItem[]][] {
  const groups = new Map<string, ["events" | "downsampled", string, BlockItem[]]>();
  for (const item of items) {
    if (item.kind !== "block") continue;
    const kind = item.resolutionUs === 0 ? "events" : "downsampled";
    const id = `${kind} ${item.stream}`;
    const group = groups.get(id) ?? [kind, item.stream, []];
    group[2].push(item);
    groups.set(id, group);
  }
  return [...groups.values()];
}

function isRows(item: BatchItem): item is RowsItem {
  return item.kind !== "block";
}

/** As the decoders take it: the schema stands in the block's own header. */
function blockOf({ count, minUs, maxUs, codec, encodedBytes, data }: BlockItem): StoredBlock {
  return { data: new Uint8Array(data), codec, encodedBytes, count, minUs, maxUs, schema: [] };
}

function unreadable({ id, stream }: BlockItem, why: string): MillraceError {
  return new MillraceError("E_BAD_BLOCK", `block ${id} of stream ${stream} cannot be read: ${why}`);
}
