import { createHash } from "node:crypto";
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { MillraceError } from "../../workers/errors.ts";
import type { QueryPlan, ResultRow, TableData } from "../../workers/messages.ts";
import { Replay } from "../../workers/query/replay.ts";
import { ReplayOfResults } from "../../workers/query/replay-of-results.ts";
import { resultJson } from "../../workers/query/row-pages.ts";
import { Reader } from "../../workers/store/reader.ts";
import { formatTime } from "../../workers/time-format.ts";
import { portableCodec } from "../../workers/zstd.ts";
import { parseTime } from "../api/times.ts";
import type { Config } from "../config/config.ts";
import { automaticQuery, automaticStream, queryPlan, resultsSetup } from "../config/plans.ts";
import { fromStored } from "../config/table/stored.ts";
import { loadKeys } from "../encryption/load-keys.ts";
import {
  type QuerySet,
  querySetOf,
  readQuerySet,
  type SetQuery,
  signatureOf,
} from "../pipeline/query-set.ts";
import { CommandError, NodeClient, nodeUrl } from "./client.ts";
import { dataDirectory, readConfig } from "./data-directory.ts";
import { Courier } from "./delivery.ts";
import { EXIT, finish, print, warn } from "./output.ts";
import { formatCount, Progress } from "./progress.ts";
import { explainWriting } from "./table-file.ts";

interface ReplayOptions {
  readonly query?: string;
  readonly from?: string;
  readonly to?: string;
  readonly into?: string;
  readonly intoStream?: string;
  readonly data?: string;
  readonly config?: string;
  readonly url?: string;
  readonly json?: true;
}

/** Rows of one request: its idempotency key is made of them. */
const ROWS_PER_REQUEST = 1_000;
const WRITTEN_BYTES = 256 * 1024;
const PATIENCE_MS = 60_000;

/** Where rows go. */
interface Sink {
  take(rows: readonly ResultRow[]): Promise<void>;
  /** All rows are there. */
  end(): Promise<void>;
  /** They will not all come. */
  abandon(): void;
}

/** `millrace replay STREAM`: stored events through a query. Reads the data directory; a node may be running on it. */
export async function replay(stream: string, options: ReplayOptions): Promise<void> {
  const { into, intoStream } = options;
  if (into !== undefined && intoStream !== undefined)
    throw new CommandError(EXIT.usage, "rows go to --into or to --into-stream, not to both");
  const config = readConfig(options.config);
  const [fromUs, toUs] = [timeOf("--from", options.from), timeOf("--to", options.to)];
  let reader: Reader | null = null;
  let sink: Sink | null = null;
  const progress = new Progress(null);
  try {
    const encryption = config?.encryption;
    const masters = encryption === undefined ? null : await loadKeys(encryption);
    reader = new Reader(
      dataDirectory(options.data, () => config),
      masters,
    );
    const stored = reader.newestConfig();
    const set = stored === null ? null : readQuerySet(stored);
    const chain = findQueries(stream, options, config, set);
    if (options.config === undefined && set?.acceptsAnyStream === true && !isKnown(stream, reader))
      throw new CommandError(EXIT.failed, `there are no events of a stream ${stream} in the data directory`);
    const [lowest] = chain;
    const plan = chain.at(-1)!;
    const task = { plan: lowest, tables: tablesOf(lowest, options, config, set, reader), fromUs, toUs };
    const run = new Replay(reader, await portableCodec(), task);
    const signature = chain.length === 1 ? signatureOf(plan) : chain.map(signatureOf);
    const definition = JSON.stringify([signature, options.from ?? null, options.to ?? null]);
    sink =
      intoStream === undefined
        ? new FileSink(into ?? "-")
        : await StreamSink.open(intoStream, options.url, definition);
    let rows = 0;
    for (const portion of rowsOf(chain, run, { fromUs, toUs })) {
      rows += portion.length;
      await sink.take(portion);
      const { blocks, totalBlocks, events } = run.counts;
      progress.part(blocks / Math.max(1, totalBlocks), `${formatCount(events)} events`);
    }
    await sink.end();
    progress.clear();
    const { events, unreadable } = run.counts;
    if (unreadable > 0) warn(`${formatCount(unreadable)} events could not be read; their windows lack them`);
    const summary = { stream, query: plan.name, events: events - unreadable, unreadable, rows };
    if (options.json && into !== undefined && into !== "-") print(JSON.stringify(summary));
    else warn(`${formatCount(summary.events)} events, ${formatCount(rows)} rows`);
    if (unreadable > 0) finish(EXIT.failed);
  } catch (cause) {
    progress.clear();
    sink?.abandon();
    if (cause instanceof MillraceError)
      throw new CommandError(EXIT.failed, `${cause.message} (${cause.code})`, { cause });
    throw explainWriting(cause, into ?? "stdout");
  } finally {
    reader?.close();
  }
}

/** The rows of the last query, each of which is over the results of the one before. */
function rowsOf(
  chain: readonly QueryPlan[],
  run: Replay,
  range: { readonly fromUs: number | null; readonly toUs: number | null },
): Generator<readonly ResultRow[], void, void> {
  let rows = run.rows();
  for (const [at, plan] of chain.entries())
    if (at > 0)
      rows = new ReplayOfResults({ plan, results: resultsSetup(chain[at - 1]!), ...range }).rows(rows);
  return rows;
}

/**
 * The query of the configuration that is given, else of the one in force in the data directory; in front of it those whose
 * results it is over, the first of which is over the stream.
 */
function findQueries(
  stream: string,
  { query, config: file }: ReplayOptions,
  config: Config | null,
  inForce: QuerySet | null,
): readonly [QueryPlan, ...QueryPlan[]] {
  const ofConfig = config === null ? [] : querySetOf(config, 0, { kind: "file" }).queries;
  const ofStore = inForce?.queries ?? [];
  const known = file !== undefined ? ofConfig : ofStore.length > 0 ? ofStore : ofConfig;
  const set = file !== undefined ? null : inForce;
  const isAutomatic = set?.acceptsAnyStream === true && !ofStore.some(({ plan }) => plan.stream === stream);
  const automatic = automaticQuery(stream);
  if (isAutomatic && (query === undefined || query === automatic.name))
    return [queryPlan(automatic, automaticStream(stream), 1)];
  const ofStream = known.filter(({ plan, from }) => plan.stream === stream && from === null);
  const found =
    query === undefined
      ? ofStream.length === 1
        ? ofStream[0]
        : undefined
      : known.find(({ plan }) => plan.name === query);
  const names = isAutomatic ? [automatic.name] : ofStream.map(({ plan }) => plan.name);
  if (found === undefined) throw unknownQuery(stream, query, names);
  const chain: SetQuery[] = [found];
  for (let from = found.from; from !== null; ) {
    const below = known.find(({ plan }) => plan.name === from);
    if (below === undefined) throw unknownQuery(stream, from, names);
    chain.unshift(below);
    from = below.from;
  }
  const [lowest, ...above] = chain.map(({ plan }, at) => ({ ...plan, id: at + 1 }));
  if (lowest === undefined || lowest.stream !== stream) {
    const message = `query ${found.plan.name} is over stream ${lowest?.stream}, not ${stream}`;
    throw new CommandError(EXIT.failed, message);
  }
  return [lowest, ...above];
}

/** Where any stream is accepted, a name that was mistyped has a query too. */
function isKnown(stream: string, reader: Reader): boolean {
  return (
    reader.typesByField(stream).size > 0 || reader.lastBlockBefore(stream, Number.MAX_SAFE_INTEGER) !== null
  );
}

function unknownQuery(stream: string, query: string | undefined, names: readonly string[]): CommandError {
  const there =
    names.length === 0
      ? `there is none over stream ${stream}`
      : `over stream ${stream} there are ${names.join(", ")}`;
  const what = query === undefined ? "name a query with --query" : `no query is named ${query}`;
  return new CommandError(EXIT.failed, `${what}; ${there}`);
}

/** Their rows are those in force in the data directory; of a configuration that was given, those of its file. */
function tablesOf(
  { name, expressions }: QueryPlan,
  { config: file }: ReplayOptions,
  config: Config | null,
  set: QuerySet | null,
  reader: Reader,
): TableData[] {
  return (expressions?.tables ?? []).map((table) => {
    const given = config?.tables?.get(table);
    // A table without a file has its rows in the data directory alone.
    if (file !== undefined && given !== undefined && given.file !== null) return given.data;
    const digest = set?.tables?.find((each) => each.name === table)?.digest;
    const stored = digest === undefined ? null : reader.table(digest);
    if (stored !== null) return fromStored(stored);
    if (given !== undefined) return given.data;
    const message = `query ${name} joins table ${table}, whose rows are not in the data directory; give the configuration that has it with --config`;
    throw new CommandError(EXIT.failed, message);
  });
}

function timeOf(option: string, text: string | undefined): number | null {
  if (text === undefined) return null;
  const us = parseTime(text);
  if (us !== null) return us;
  throw new CommandError(
    EXIT.usage,
    `${option}: "${text}" is neither an ISO 8601 time nor epoch microseconds`,
  );
}

/** NDJSON; a file appears when it is complete. */
class FileSink implements Sink {
  readonly #file: string;
  readonly #partial: string;
  readonly #handle: number;
  #text = "";

  constructor(file: string) {
    this.#file = file;
    this.#partial = `${file}.partial-${process.pid}`;
    this.#handle = file === "-" ? 1 : openSync(this.#partial, "w");
  }

  async take(rows: readonly ResultRow[]): Promise<void> {
    for (const row of rows) {
      this.#text += `${resultJson(row)}\n`;
      if (this.#text.length >= WRITTEN_BYTES) await this.#flush();
    }
  }

  async end(): Promise<void> {
    await this.#flush();
    if (this.#file === "-") return;
    fsyncSync(this.#handle);
    closeSync(this.#handle);
    renameSync(this.#partial, this.#file);
  }

  abandon(): void {
    if (this.#file !== "-") rmSync(this.#partial, { force: true });
  }

  async #flush(): Promise<void> {
    const text = this.#text;
    this.#text = "";
    if (this.#file !== "-") {
      const bytes = Buffer.from(text);
      for (let at = 0; at < bytes.length; ) at += writeSync(this.#handle, bytes, at);
      return;
    }
    if (!process.stdout.write(text))
      await new Promise<void>((resolve) => process.stdout.once("drain", resolve));
  }
}

/** Events of another stream. Requests are cut by the rows alone, so a second replay of the same sends the same. */
class StreamSink implements Sink {
  readonly #url: string;
  readonly #definition: string;
  readonly #timeField: string;
  readonly #courier = new Courier({
    patienceMs: PATIENCE_MS,
    firstPatienceMs: PATIENCE_MS,
    onWait: (reason) => warn(`the node is away or full (${reason}); trying again`),
  });
  #lines: string[] = [];
  #requests = 0;

  private constructor(url: string, definition: string, timeField: string) {
    this.#url = url;
    this.#definition = definition;
    this.#timeField = timeField;
  }

  static async open(stream: string, url: string | undefined, definition: string): Promise<StreamSink> {
    const client = new NodeClient(nodeUrl(url));
    const { streams } = (await client.json("/v1/streams")) as {
      streams: readonly { readonly stream: string; readonly timeField: string }[];
    };
    const known = streams.find((each) => each.stream === stream);
    const path = `/v1/streams/${encodeURIComponent(stream)}/events`;
    return new StreamSink(`${client.url}${path}`, definition, known?.timeField ?? "ts");
  }

  async take(rows: readonly ResultRow[]): Promise<void> {
    for (const row of rows) {
      this.#lines.push(this.#event(row));
      if (this.#lines.length === ROWS_PER_REQUEST) await this.#send();
    }
  }

  async end(): Promise<void> {
    if (this.#lines.length > 0) await this.#send();
  }

  abandon(): void {
    this.#lines = [];
  }

  /** As results are events of a query on a query: key, values, `window.start` and `window.end` in µs, the last µs of the window. */
  #event({ key, values, startUs, endUs }: ResultRow): string {
    const time = formatTime(Math.max(startUs, endUs - 1));
    const members = [key.slice(1, -1), values.slice(1, -1)].filter((text) => text !== "");
    members.push(`"window":{"start":${startUs},"end":${endUs}}`);
    return `{${JSON.stringify(this.#timeField)}:"${time}",${members.join(",")}}`;
  }

  async #send(): Promise<void> {
    const body = `${this.#lines.join("\n")}\n`;
    this.#lines = [];
    const hash = createHash("sha256")
      .update(this.#definition)
      .update(`\n${this.#requests++}\n`)
      .update(body);
    const headers = {
      "content-type": "application/x-ndjson",
      "idempotency-key": `replay:${hash.digest("base64url")}`,
    };
    const { status, content } = await this.#courier.deliver({ url: this.#url, headers, body });
    if (status === 200 && content.deadLettered === 0) return;
    const detail = String(content.detail ?? JSON.stringify(content));
    throw new CommandError(EXIT.failed, `${this.#url} answered ${status}: ${detail}`);
  }
}
