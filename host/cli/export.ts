import { closeSync, createReadStream, fsyncSync, openSync, renameSync, rmSync } from "node:fs";
import { CommandError, NodeClient, nodeUrl } from "./client.ts";
import { CsvFile } from "./export-csv.ts";
import { type ExportColumn, type ExportRows, eventRows, resultRows } from "./export-rows.ts";
import { EXIT, print, warn } from "./output.ts";
import { formatCount, Progress } from "./progress.ts";
import { explainWriting, type TableFile, writeAll } from "./table-file.ts";

type Format = "parquet" | "csv" | "ndjson";

interface ExportOptions {
  readonly query?: string;
  readonly format?: Format;
  readonly output: string;
  readonly from?: string;
  readonly to?: string;
  readonly key?: string;
  readonly url?: string;
  readonly json?: true;
}

/** Rows asked for at a time: about 2 MB. */
const PAGE_ROWS = 20_000;

/**
 * `millrace export`: events or results of a node into a file, which appears when it is complete. Rows are first laid down
 * beside it as NDJSON, since only then it is known which columns they have. Memory: a page of the node, or a row group.
 */
export async function exportRows(stream: string | undefined, options: ExportOptions): Promise<void> {
  const { output, query } = options;
  if ((stream === undefined) === (query === undefined))
    throw new CommandError(EXIT.usage, "name a stream, or a query with --query");
  const format = options.format ?? formatOf(output);
  if (format === "parquet" && output === "-")
    throw new CommandError(EXIT.usage, "parquet is written to a file: name one with -o");
  const client = new NodeClient(nodeUrl(options.url));
  const { from, to, key } = options;
  const path =
    stream === undefined
      ? `/v1/queries/${encodeURIComponent(query ?? "")}/results`
      : `/v1/streams/${encodeURIComponent(stream)}/events`;
  const pages = client.pages(path, { from, to, key }, Infinity, PAGE_ROWS);
  const progress = new Progress(null);
  if (output === "-" && format === "ndjson") {
    let rows = 0;
    for await (const lines of pages) {
      rows += lines.length;
      if (lines.length > 0 && !process.stdout.write(`${lines.join("\n")}\n`))
        await new Promise<void>((resolve) => process.stdout.once("drain", resolve));
    }
    return warn(`${formatCount(rows)} rows`);
  }
  const base = output === "-" ? "millrace-export" : output;
  const spool = `${base}.rows-${process.pid}`;
  const partial = `${base}.partial-${process.pid}`;
  try {
    const rows = await layDown(pages, spool, progress);
    if (format === "ndjson") renameSync(spool, output);
    else {
      const source =
        stream === undefined
          ? await resultRows(client, query ?? "", () => linesOf(spool))
          : await eventRows(client, stream);
      const file = await openTable(format, output === "-" ? null : partial, source.columns);
      await fill(file, source, spool, rows, progress);
      if (output !== "-") renameSync(partial, output);
    }
    progress.clear();
    if (options.json && output !== "-") print(JSON.stringify({ output, format, rows }));
    else warn(`${output}: ${formatCount(rows)} rows`);
  } catch (cause) {
    throw explainWriting(cause, output);
  } finally {
    progress.clear();
    rmSync(spool, { force: true });
    rmSync(partial, { force: true });
  }
}

function formatOf(output: string): Format {
  const ending = /\.(parquet|csv|ndjson|jsonl)$/.exec(output)?.[1];
  if (ending === "parquet" || ending === "csv") return ending;
  if (ending === undefined && output !== "-")
    throw new CommandError(EXIT.usage, `${output} does not say its format; give it with --format`);
  return "ndjson";
}

async function layDown(
  pages: AsyncIterable<readonly string[]>,
  spool: string,
  progress: Progress,
): Promise<number> {
  const file = openSync(spool, "w");
  let rows = 0;
  try {
    for await (const lines of pages) {
      if (lines.length > 0) writeAll(file, `${lines.join("\n")}\n`);
      rows += lines.length;
      progress.update(0, rows);
    }
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  return rows;
}

/** Node's readline would part them at U+2028 and U+2029 too, which stand in JSON as they are. */
async function* linesOf(spool: string): AsyncIterable<string> {
  let rest = "";
  for await (const chunk of createReadStream(spool, { encoding: "utf8" }) as AsyncIterable<string>) {
    rest += chunk;
    if (!chunk.includes("\n")) continue;
    const lines = rest.split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
  if (rest !== "") yield rest;
}

async function openTable(
  format: "parquet" | "csv",
  path: string | null,
  columns: readonly ExportColumn[],
): Promise<TableFile> {
  if (format === "csv" || path === null) return new CsvFile(path, columns);
  const { ParquetFile } = await import("./export-parquet.ts");
  return new ParquetFile(path, columns);
}

async function fill(
  file: TableFile,
  { read }: ExportRows,
  spool: string,
  rows: number,
  progress: Progress,
): Promise<void> {
  let done = 0;
  for await (const line of linesOf(spool)) {
    const written = file.add(read(line));
    if (written !== undefined) await written;
    progress.part(++done / rows, "written");
  }
  await file.end();
}
