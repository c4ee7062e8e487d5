import type { BatchHeader, BlockItem, CountBase, RowsItem, StreamForm, StreamTotals } from "./batch.ts";

/** Reads the JSON of frames. What is missing, too much or of another type is refused, for it comes from outside. */

/** Says what is wrong, and does not come back. */
type Refuse = (what: string) => never;
type Members = Readonly<Record<string, unknown>>;

/** As for streams: they come into paths of URLs. */
const NAME = /^[A-Za-z0-9_.-]{1,128}$/;
const HEX = /^[0-9a-f]{16,64}$/;
const MAX_LIST = 100_000;

export function readHeader(value: unknown, refuse: Refuse): BatchHeader {
  const header = members(value, refuse);
  const start = members(header.start, refuse);
  return {
    edge: name(header, "edge", refuse),
    key: hex(header, "key", refuse),
    createdUs: integer(header, "createdUs", refuse),
    incarnation: hex(header, "incarnation", refuse),
    start: { number: count(start, "number", refuse), id: hex(start, "id", refuse) },
    streams: list(header.streams, refuse).map((each) => readForm(members(each, refuse), refuse)),
    totals: list(header.totals, refuse).map((each) => readTotals(members(each, refuse), refuse)),
  };
}

export function readBlockMeta(value: unknown, refuse: Refuse): Omit<BlockItem, "kind" | "data"> {
  const meta = members(value, refuse);
  const { codec } = meta;
  if (codec !== "none" && codec !== "zstd") return refuse("codec is neither none nor zstd");
  return {
    id: count(meta, "id", refuse),
    stream: name(meta, "stream", refuse),
    arrivalUs: integer(meta, "arrivalUs", refuse),
    count: count(meta, "count", refuse),
    minUs: integer(meta, "minUs", refuse),
    maxUs: integer(meta, "maxUs", refuse),
    codec,
    encodedBytes: count(meta, "encodedBytes", refuse),
    resolutionUs: count(meta, "resolutionUs", refuse),
  };
}

export function readRowsMeta(value: unknown, refuse: Refuse): Omit<RowsItem, "kind" | "ndjson"> {
  const meta = members(value, refuse);
  return { id: count(meta, "id", refuse), rows: count(meta, "rows", refuse) };
}

function readForm(form: Members, refuse: Refuse): StreamForm {
  return {
    stream: name(form, "stream", refuse),
    timeField: text(form, "timeField", refuse),
    keyFields: list(form.keyFields, refuse).map((field) =>
      typeof field === "string" ? field : refuse("keyFields has what is no text"),
    ),
  };
}

function readTotals(totals: Members, refuse: Refuse): StreamTotals {
  return {
    stream: name(totals, "stream", refuse),
    accepted: count(totals, "accepted", refuse),
    deadLettered: count(totals, "deadLettered", refuse),
    late: count(totals, "late", refuse),
    clockSkewed: count(totals, "clockSkewed", refuse),
    ...(totals.base === undefined ? {} : { base: readBase(list(totals.base, refuse), refuse) }),
  };
}

function readBase(counts: readonly unknown[], refuse: Refuse): CountBase {
  const at = (index: number): number => count({ base: counts[index] }, "base", refuse);
  return counts.length === 4 ? [at(0), at(1), at(2), at(3)] : refuse("base is not of four counts");
}

function members(value: unknown, refuse: Refuse): Members {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return refuse("no object");
  return value as Members;
}

function list(value: unknown, refuse: Refuse): readonly unknown[] {
  return Array.isArray(value) && value.length <= MAX_LIST ? (value as unknown[]) : refuse("no list");
}

function text(from: Members, member: string, refuse: Refuse): string {
  const value = from[member];
  return typeof value === "string" && value.length <= 1024 ? value : refuse(`${member} is no text`);
}

function name(from: Members, member: string, refuse: Refuse): string {
  const value = text(from, member, refuse);
  return NAME.test(value) ? value : refuse(`${member} is no name`);
}

function hex(from: Members, member: string, refuse: Refuse): string {
  const value = text(from, member, refuse);
  return HEX.test(value) ? value : refuse(`${member} is not hexadecimal`);
}

function integer(from: Members, member: string, refuse: Refuse): number {
  const value = from[member];
  // Times beyond 2^53 µs are rounded, and still whole.
  return typeof value === "number" && Number.isInteger(value) ? value : refuse(`${member} is no integer`);
}

function count(from: Members, member: string, refuse: Refuse): number {
  const value = from[member];
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0
    ? value
    : refuse(`${member} is no count`);
}
