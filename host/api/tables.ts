import { Readable } from "node:stream";
import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";
import type { TableConfig } from "../config/config.ts";
import type { TableFormat } from "../config/table/rows.ts";
import { rowCount, tableLines } from "../config/table/stored.ts";
import { BodyReader } from "../ingest/body.ts";
import { FORMATS, mediaType, UNTOLD_TYPE } from "../ingest/http.ts";
import { refuseUnread } from "../ingest/refuse-unread.ts";
import type { Engine } from "../pipeline/engine.ts";
import type { Reloader, TableAnswer } from "../pipeline/reloader.ts";
import { adminRefusal } from "./admin.ts";
import { type Problem, problemResponse } from "./problem.ts";
import type { TableAnswer as TableListing, TablePutAnswer } from "./schemas.ts";

/** Lines written at once. */
const LINES_IN_CHUNK = 512;

export interface TableParts {
  readonly engine: Pick<Engine, "config">;
  readonly reloader: Pick<Reloader, "putTable">;
  readonly adminToken: string | null;
  readonly maxBytes: number;
}

type TableContext = Context<{ Bindings: HttpBindings }>;

export function listTables(engine: Pick<Engine, "config">): { tables: TableListing[] } {
  return { tables: [...(engine.config().tables?.values() ?? [])].map(describeTable) };
}

function describeTable({ name, file, key, on, data }: TableConfig): TableListing {
  const columns = data.columns.map((column) => ({ name: column.name, type: column.type }));
  const declared = { table: name, key, ...(on === null ? {} : { on }), ...(file === null ? {} : { file }) };
  return { ...declared, rows: rowCount(data), columns };
}

/** `GET /v1/tables/{name}`: the rows that are in force, as NDJSON that `PUT` takes back. */
export function readTableRows(context: TableContext, engine: Pick<Engine, "config">): Response {
  const name = context.req.param("table") ?? "";
  const table = engine.config().tables?.get(name);
  if (table === undefined) return problemResponse(unknownTable(name));
  const body = Readable.toWeb(Readable.from(chunksOf(tableLines(table.data)))) as ReadableStream<Uint8Array>;
  return context.body(body, 200, { "content-type": "application/x-ndjson" });
}

function* chunksOf(lines: Iterable<string>): Generator<Uint8Array> {
  let chunk: string[] = [];
  for (const line of lines) {
    chunk.push(line);
    if (chunk.length < LINES_IN_CHUNK) continue;
    yield Buffer.from(`${chunk.join("\n")}\n`);
    chunk = [];
  }
  if (chunk.length > 0) yield Buffer.from(`${chunk.join("\n")}\n`);
}

/** `PUT /v1/tables/{name}`: answered once the rows are durable and in force; or nothing has changed. */
export function putTable(parts: TableParts): (context: TableContext) => Promise<Response> {
  const { reloader, adminToken, maxBytes } = parts;
  const bodies = new BodyReader({ maxHeldBytes: 2 * maxBytes });
  return async (context) => {
    const { incoming } = context.env;
    const refuse = (problem: Problem): Response => refuseUnread(incoming, problem, maxBytes);
    const refusal = adminRefusal(incoming, adminToken);
    if (refusal !== null) return refuse(refusal);
    const name = context.req.param("table") ?? "";
    if (!parts.engine.config().tables?.has(name)) return refuse(unknownTable(name));
    const type = mediaType(incoming.headers["content-type"]);
    const isTold = type !== "" && type !== UNTOLD_TYPE;
    const told = FORMATS.get(type);
    if (isTold && told === undefined) return refuse(badType(type));
    const coding = incoming.headers["content-encoding"] ?? "identity";
    if (coding !== "identity") return refuse(badCoding(coding));
    const read = await bodies.read(incoming, maxBytes);
    if (read.kind !== "read") return refuse(read.kind === "too-large" ? tooLarge(maxBytes) : unread);
    const text = Buffer.from(read.body).toString();
    return answerPut(await reloader.putTable(name, text, told ?? formatOf(text)), name, refuse);
  };
}

/** Where nobody says what it is, its first character does. */
function formatOf(text: string): TableFormat {
  const [first] = /\S/.exec(text.slice(0, 1_024)) ?? [""];
  return first === "[" ? "json" : first === "{" ? "ndjson" : "csv";
}

function answerPut(answer: TableAnswer, name: string, refuse: (problem: Problem) => Response): Response {
  switch (answer.kind) {
    case "put": {
      const { rows, version } = answer;
      return Response.json({ table: name, rows, version } satisfies TablePutAnswer);
    }
    case "unknown":
      return refuse(unknownTable(name));
    case "file":
      return refuse(hasFile(name, answer.file));
    case "refused": {
      const errors = answer.problems.map(({ line, path, message, fix }) => ({
        line,
        path,
        message: fix === null ? message : `${message}; ${fix}`,
      }));
      return refuse({ ...invalid, errors });
    }
  }
}

function unknownTable(name: string): Problem {
  const detail = `there is no table ${name}; declare it under tables: in the configuration, with its key`;
  return { status: 404, code: "E_UNKNOWN_TABLE", title: "Unknown table", detail };
}

function hasFile(name: string, file: string): Problem {
  const detail = `the rows of ${name} are those of ${file}; change that and send SIGHUP, or leave tables.${name}.file out`;
  return { status: 409, code: "E_TABLE_FILE", title: "The table has a file", detail };
}

function badType(type: string): Problem {
  const known = [...FORMATS.keys()].join(", ");
  const detail = `Content-Type ${type} is not one that can be read; send one of ${known}`;
  return { status: 415, code: "E_CONTENT_TYPE", title: "Unsupported content type", detail };
}

function badCoding(coding: string): Problem {
  const detail = `Content-Encoding ${coding} is not for tables; send the rows as they are`;
  return { status: 415, code: "E_CONTENT_ENCODING", title: "Unsupported content encoding", detail };
}

function tooLarge(maxBytes: number): Problem {
  const detail = `a table has limits.maxTable (${maxBytes} bytes) at most; leave out columns that no query uses, or raise it`;
  return { status: 413, code: "E_TOO_LARGE", title: "Too large", detail };
}

const unread: Problem = {
  status: 400,
  code: "E_TABLE",
  title: "Bad request",
  detail: "the rows did not come whole; send them again",
};
const invalid: Problem = {
  status: 422,
  code: "E_TABLE",
  title: "The rows cannot be taken",
  detail: "nothing was changed; errors names each problem and what to do",
};
