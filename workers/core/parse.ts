import { randomBytes } from "node:crypto";
import type { BodyFormat, FieldType, LineError, SchemaField, StreamPlan, TimeUnit } from "../messages.ts";
import type { BatchHandle } from "./codec.ts";
import { type CoreModule, copyIn, type Pointer } from "./module.ts";
import { BATCH_TOO_LARGE, describeFault, type Fault } from "./parse-faults.ts";

/** What became of one body. */
export interface ParseOutcome {
  readonly accepted: number;
  /** All bad lines, of which `errors` holds the first 1,000. */
  readonly bad: number;
  readonly errors: readonly LineError[];
}

/** Turns the bodies of one stream into batches. Types that it infers persist and only widen. */
export interface Parser {
  /** Starts an empty batch. `arrivalUs`: the time of events that have none, µs since the epoch. */
  begin(arrivalUs: number): void;
  /** Appends the body's events to the batch; its bad lines are set aside and leave no trace there. Never throws for what a body holds. */
  parse(format: BodyFormat, body: Uint8Array): ParseOutcome;
  /** The batch, to be read until the next `begin` of any parser of the same module. */
  finish(): BatchHandle;
  /** The fields that gave event times since `begin`, and null where that was the arrival. */
  timeSources(): (string | null)[];
  /** Adopts the types of a schema inferred elsewhere: columns widen to it. Fields that the plan does not take are passed over. */
  setSchema(fields: readonly SchemaField[]): void;
  /** The fields that have columns, in the order of first appearance. */
  schema(): SchemaField[];
  dispose(): void;
}

interface ParseExports {
  allocate(length: number): number;
  release(pointer: number): void;
  batchColumnCount(batch: number): number;
  batchColumn(batch: number, index: number): number;
  parseSeed(entropy: bigint): void;
  parserCreate(
    unit: number,
    isTimeDeclared: number,
    isKeyDeclared: number,
    isDeclared: number,
    extra: number,
    maxAheadUs: bigint,
  ): number;
  parserAddTime(parser: number, path: number, length: number): void;
  parserAddKey(parser: number, path: number, length: number): void;
  parserAddField(parser: number, path: number, length: number, type: number): void;
  parserWiden(parser: number, path: number, length: number, type: number): void;
  parserBegin(parser: number, arrivalUs: bigint): void;
  parseInput(parser: number, length: number): number;
  parseBody(parser: number, format: number, length: number): number;
  parserFinish(parser: number): number;
  parserMarks(parser: number): number;
  parserBatch(parser: number): number;
  parserDispose(parser: number): void;
}

const FORMATS: Readonly<Record<BodyFormat, number>> = { ndjson: 0, json: 1, csv: 2 };
const UNITS: Readonly<Record<TimeUnit, number>> = { auto: 0, iso: 1, s: 2, ms: 3, us: 4, ns: 5 };
const EXTRAS: Readonly<Record<StreamPlan["extra"], number>> = { keep: 0, drop: 1, reject: 2 };
const TYPE_NUMBERS: Readonly<Record<FieldType, number>> = { bool: 1, int: 2, float: 3, string: 4 };
const TYPES: readonly (FieldType | null)[] = [null, "bool", "int", "float", "string", null];

/** Words (u32) of `Outcome`, of `Fault`, and of `Column` in the core. */
const OUTCOME_WORDS = 5;
const FAULT_WORDS = 8;
const COLUMN_TYPE = 0;
const COLUMN_NAME = 2;
const COLUMN_NAME_LENGTH = 3;

/** `MARK_ARRIVAL` and the first `timeMark` of the core. */
const MARK_ARRIVAL = 4;
const TIME_MARKS_SHIFT = 8;

/** A bad line's text is kept up to this many bytes. */
const MAX_TEXT_BYTES = 16 << 10;

const utf8 = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const seeded = new WeakSet<CoreModule>();

export function createParser(core: CoreModule, plan: StreamPlan): Parser {
  const wasm = core.exports as unknown as ParseExports;
  seed(core);
  const maxAheadUs = Math.min(plan.maxAheadUs, Number.MAX_SAFE_INTEGER);
  const parser = wasm.parserCreate(
    UNITS[plan.time.unit],
    Number(plan.time.isDeclared),
    Number(plan.isKeyDeclared),
    Number(plan.fields !== null),
    EXTRAS[plan.extra],
    BigInt(Math.trunc(maxAheadUs)),
  );
  const withPath = (path: string, use: (at: Pointer, length: number) => void): void => {
    const bytes = utf8.encode(path);
    const at = wasm.allocate(bytes.length + 1) >>> 0;
    copyIn(core, at, bytes);
    use(at, bytes.length);
    wasm.release(at);
  };
  const timeFields = [...new Set(plan.time.fields)];
  for (const path of timeFields) withPath(path, (at, length) => wasm.parserAddTime(parser, at, length));
  for (const path of plan.key) withPath(path, (at, length) => wasm.parserAddKey(parser, at, length));
  for (const { name, type } of plan.fields ?? []) {
    withPath(name, (at, length) => wasm.parserAddField(parser, at, length, TYPE_NUMBERS[type]));
  }
  return {
    begin: (arrivalUs) => wasm.parserBegin(parser, BigInt(Math.trunc(arrivalUs))),
    parse: (format, body) => {
      const input = wasm.parseInput(parser, body.length);
      if (input === 0) return refuseWhole(body);
      copyIn(core, input, body);
      return readOutcome(core, wasm.parseBody(parser, FORMATS[format], body.length));
    },
    finish: () => wasm.parserFinish(parser) >>> 0,
    timeSources: () => {
      const marks = wasm.parserMarks(parser);
      const found = timeFields.filter((_, rank) => marks & (1 << (TIME_MARKS_SHIFT + rank)));
      return marks & MARK_ARRIVAL ? [...found, null] : found;
    },
    setSchema: (fields) => {
      for (const { name, type } of fields) {
        withPath(name, (at, length) => wasm.parserWiden(parser, at, length, TYPE_NUMBERS[type]));
      }
    },
    schema: () => readSchema(core, wasm.parserBatch(parser)),
    dispose: () => wasm.parserDispose(parser),
  };
}

/** So that nobody can choose texts whose hashes collide. Results do not depend on it. */
function seed(core: CoreModule): void {
  if (seeded.has(core)) return;
  seeded.add(core);
  (core.exports as unknown as ParseExports).parseSeed(randomBytes(8).readBigInt64LE());
}

/** A body that would make the batch larger than one may be. */
function refuseWhole(body: Uint8Array): ParseOutcome {
  const { code, message } = describeFault({
    problem: BATCH_TOO_LARGE,
    offset: 0,
    detail: 0,
    path: "",
    bytes: body,
  });
  const text = decoder.decode(body.subarray(0, MAX_TEXT_BYTES));
  return { accepted: 0, bad: 1, errors: [{ line: 1, path: "", code, message, text }] };
}

function readOutcome(core: CoreModule, at: Pointer): ParseOutcome {
  const [accepted, bad, faults, faultBytes, paths] = new Uint32Array(
    core.memory.buffer,
    at >>> 0,
    OUTCOME_WORDS,
  ) as unknown as [number, number, number, number, number];
  const words = new Uint32Array(core.memory.buffer, faults, faultBytes >>> 2);
  const errors: LineError[] = [];
  for (let i = 0; i < words.length; i += FAULT_WORDS) {
    const [problem, line, offset, detail, path, pathLength, text, textLength] = words.subarray(
      i,
      i + FAULT_WORDS,
    ) as unknown as [number, number, number, number, number, number, number, number];
    const bytes = new Uint8Array(core.memory.buffer, text, textLength);
    const fault: Fault = { problem, offset, detail, path: readText(core, paths + path, pathLength), bytes };
    const { code, message } = describeFault(fault);
    errors.push({
      line,
      path: fault.path,
      code,
      message,
      text: readText(core, text, Math.min(textLength, MAX_TEXT_BYTES)),
    });
  }
  return { accepted, bad, errors };
}

function readText(core: CoreModule, at: Pointer, length: number): string {
  return decoder.decode(new Uint8Array(core.memory.buffer, at, length));
}

function readSchema(core: CoreModule, batch: Pointer): SchemaField[] {
  const { batchColumnCount, batchColumn } = core.exports as unknown as ParseExports;
  const fields: SchemaField[] = [];
  for (let i = 0; i < batchColumnCount(batch); i++) {
    const column = new Uint32Array(core.memory.buffer, batchColumn(batch, i) >>> 0, COLUMN_NAME_LENGTH + 1);
    const type = TYPES[column[COLUMN_TYPE] ?? 0] ?? null;
    const name = readText(core, column[COLUMN_NAME] ?? 0, column[COLUMN_NAME_LENGTH] ?? 0);
    if (type !== null) fields.push({ name, type });
  }
  return fields;
}
