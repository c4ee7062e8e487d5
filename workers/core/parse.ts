import {
  type BodyFormat,
  type FieldType,
  type LineError,
  MAX_BAD_LINES,
  type SchemaField,
  type StreamPlan,
  type TimeUnit,
} from "../messages.ts";
import { type BatchHandle, readColumns } from "./codec.ts";
import { type CoreModule, copyIn, copyOut } from "./module.ts";
import { describeFault } from "./parse-errors.ts";

interface ParseExports {
  allocate(length: number): number;
  release(pointer: number): void;
  parserCreate(
    isDeclared: number,
    extra: number,
    unit: number,
    isTimeDeclared: number,
    isKeyDeclared: number,
    maxAheadUs: bigint,
  ): number;
  parserAddTime(parser: number, path: number, length: number): void;
  parserAddKey(parser: number, path: number, length: number): void;
  parserAddField(parser: number, path: number, length: number, type: number, isDeclared: number): void;
  parserBegin(parser: number, arrivalUs: bigint): void;
  parserParse(parser: number, format: number, input: number, length: number): number;
  parserBad(parser: number): number;
  parserErrors(parser: number): number;
  parserErrorBytes(parser: number): number;
  parserFinish(parser: number): number;
  parserMemberPath(parser: number, id: number): number;
  parserMemberPathLength(parser: number, id: number): number;
  parserDispose(parser: number): void;
}

/** What became of a body. `errors` holds the first 1,000 of the bad lines. */
export interface ParseOutcome {
  readonly accepted: number;
  readonly bad: number;
  readonly errors: readonly LineError[];
}

/** The parser of one stream. What it knows of the schema persists from batch to batch; types only widen. */
export interface Parser {
  /** Starts an empty batch. */
  begin(arrivalUs: number): void;
  /** Appends a body's events to the batch; bad lines are set aside. */
  parse(format: BodyFormat, body: Uint8Array): ParseOutcome;
  /** The batch, ready to be read. Valid until the next `begin`. */
  finish(): BatchHandle;
  /** Widens to a schema that is known from elsewhere. */
  setSchema(fields: readonly SchemaField[]): void;
  schema(): SchemaField[];
  dispose(): void;
}

/** The parser may read so many bytes behind a body; they are zero. */
const PADDING_BYTES = 64;
const MAX_TEXT_BYTES = 1_024;
const ERROR_WORDS = 6;
const FORMATS: Readonly<Record<BodyFormat, number>> = { ndjson: 0, json: 1, csv: 2 };
const UNITS: Readonly<Record<TimeUnit, number>> = { auto: 0, iso: 1, s: 2, ms: 3, us: 4, ns: 5 };
const EXTRAS = { keep: 0, drop: 1, reject: 2 } as const;
const TYPES: Readonly<Record<FieldType, number>> = { bool: 1, int: 2, float: 3, string: 4 };

const utf8 = new TextEncoder();
const decoder = new TextDecoder();

export function createParser(core: CoreModule, plan: StreamPlan): Parser {
  const exports = core.exports as unknown as ParseExports;
  const parser =
    exports.parserCreate(
      plan.fields === null ? 0 : 1,
      EXTRAS[plan.extra],
      UNITS[plan.time.unit],
      plan.time.isDeclared ? 1 : 0,
      plan.isKeyDeclared ? 1 : 0,
      BigInt(plan.maxAheadUs),
    ) >>> 0;
  const withText = (text: string, use: (at: number, length: number) => void): void => {
    const bytes = utf8.encode(text);
    const at = exports.allocate(bytes.length + PADDING_BYTES) >>> 0;
    copyIn(core, at, bytes);
    use(at, bytes.length);
    exports.release(at);
  };
  for (const field of plan.time.fields) withText(field, (at, length) => exports.parserAddTime(parser, at, length));
  for (const field of plan.fields ?? []) {
    withText(field.name, (at, length) => exports.parserAddField(parser, at, length, TYPES[field.type], 1));
  }
  for (const key of plan.key) {
    withText(key, (at, length) => exports.parserAddKey(parser, at, length));
    const isField = plan.fields?.some((field) => field.name === key) ?? true;
    if (!isField) withText(key, (at, length) => exports.parserAddField(parser, at, length, 0, 0));
  }
  let input = 0;
  let inputBytes = 0;
  const load = (body: Uint8Array): number => {
    if (body.length + PADDING_BYTES > inputBytes) {
      if (input !== 0) exports.release(input);
      inputBytes = Math.max(64 * 1024, body.length + PADDING_BYTES);
      input = exports.allocate(inputBytes) >>> 0;
    }
    copyIn(core, input, body);
    new Uint8Array(core.memory.buffer, input + body.length, PADDING_BYTES).fill(0);
    return input;
  };
  const pathOf = (id: number): string => {
    const at = exports.parserMemberPath(parser, id) >>> 0;
    return decoder.decode(copyOut(core, at, exports.parserMemberPathLength(parser, id)));
  };
  const readErrors = (body: Uint8Array): LineError[] => {
    const bytes = copyOut(core, exports.parserErrors(parser) >>> 0, exports.parserErrorBytes(parser));
    const words = new Uint32Array(bytes.buffer);
    const errors: LineError[] = [];
    for (let at = 0; at < words.length && errors.length < MAX_BAD_LINES; at += ERROR_WORDS) {
      const [fault = 0, line = 0, start = 0, length = 0, offset = 0, member = 0] = words.subarray(at, at + ERROR_WORDS);
      const text = decoder.decode(body.subarray(start, start + Math.min(length, MAX_TEXT_BYTES)));
      const path = member === 0 ? "" : pathOf(member - 1);
      errors.push({ line, path, text, ...describeFault(fault, path, offset + 1) });
    }
    return errors;
  };
  return {
    begin: (arrivalUs) => exports.parserBegin(parser, BigInt(arrivalUs)),
    parse: (format, body) => {
      const plain = withoutMark(body);
      const accepted = exports.parserParse(parser, FORMATS[format], load(plain), plain.length);
      const bad = exports.parserBad(parser);
      return { accepted, bad, errors: bad === 0 ? [] : readErrors(plain) };
    },
    finish: () => exports.parserFinish(parser) >>> 0,
    setSchema: (fields) => {
      for (const { name, type } of fields) {
        if (plan.fields !== null && !plan.key.includes(name)) continue;
        withText(name, (at, length) => exports.parserAddField(parser, at, length, TYPES[type], 0));
      }
    },
    schema: () =>
      readColumns(core, exports.parserFinish(parser) >>> 0).columns.flatMap(({ name, type }) =>
        type === "null" || type === "raw" ? [] : [{ name, type }],
      ),
    dispose: () => {
      if (input !== 0) exports.release(input);
      exports.parserDispose(parser);
    },
  };
}

/** A body without the byte order mark that some tools put in front. */
function withoutMark(body: Uint8Array): Uint8Array {
  const hasMark = body[0] === 0xef && body[1] === 0xbb && body[2] === 0xbf;
  return hasMark ? body.subarray(3) : body;
}
