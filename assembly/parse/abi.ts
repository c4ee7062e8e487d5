import { Batch, ColumnType } from "../batch/batch";
import { widenColumn, widerOf } from "../codec/widen";
import { seedDictionaries } from "../memory/dictionary";
import { readCsv } from "./csv";
import { readDocument } from "./document";
import { accepted, bad, clearFaults, faults, paths } from "./faults";
import { NOT_A_TIME } from "./field";
import { readLines } from "./lines";
import { Parser } from "./parser";
import { prepareStructure } from "./structure";
import { prepareWalk } from "./walk";

/** As `BodyFormat` in workers/messages.ts. */
const enum Format {
  Lines = 0,
  Document = 1,
  Csv = 2,
}

/** Zeros behind a body, so that readers that take 16 bytes at once stop there. */
const PADDING_BYTES: u32 = 64;
/** All bodies of a batch together, so that no buffer that grows with them can outgrow the memory. */
const MAX_BATCH_INPUT_BYTES: u32 = 256 << 20;
const KEPT_INPUT_BYTES: u32 = 32 << 20;

/** What `parseBody` gives. */
@unmanaged
class Outcome {
  accepted: u32;
  bad: u32;
  /** Fault[] */
  faults: usize;
  faultBytes: u32;
  paths: usize;
}

const outcome = changetype<Outcome>(memory.data(20, 4));
let input: usize = 0;
let inputBytes: u32 = 0;

/** Makes hashes unpredictable; called once with random bits. */
export function parseSeed(entropy: u64): void {
  seedDictionaries(entropy);
}

export function parserCreate(
  unit: u32,
  isTimeDeclared: u32,
  isKeyDeclared: u32,
  isDeclared: u32,
  extra: u32,
  maxAheadUs: i64,
): Parser {
  prepareStructure();
  prepareWalk();
  const parser = Parser.create();
  const plan = parser.plan;
  plan.unit = unit;
  plan.isTimeDeclared = isTimeDeclared;
  plan.isKeyDeclared = isKeyDeclared;
  plan.isDeclared = isDeclared;
  plan.extra = extra;
  plan.maxAheadUs = maxAheadUs;
  return parser;
}

/** Names the next candidate for the event time. */
export function parserAddTime(parser: Parser, path: usize, length: u32): void {
  const field = parser.plan.add(path, length);
  if (field.timeRank == NOT_A_TIME) field.timeRank = parser.plan.timeCount++;
}

export function parserAddKey(parser: Parser, path: usize, length: u32): void {
  parser.plan.add(path, length).isKey = 1;
}

/** Declares a field's type; it has a column from now on. */
export function parserAddField(parser: Parser, path: usize, length: u32, type: ColumnType): void {
  const field = parser.plan.add(path, length);
  field.declaredType = type;
  if (field.timeRank != NOT_A_TIME || field.hasColumn()) return;
  const column = parser.batch.column(parser.batch.addColumn(path, length, type));
  column.isDeclared = 1;
  field.column = changetype<usize>(column);
}

/** Tells the parser of a field's type that was inferred elsewhere: its column gets that type, or a wider one. */
export function parserWiden(parser: Parser, path: usize, length: u32, type: ColumnType): void {
  const plan = parser.plan;
  let field = plan.find(path, length);
  if (!plan.takes(field, length, parser.batch)) return;
  if (changetype<usize>(field) == 0) field = plan.add(path, length);
  if (field.hasColumn()) {
    if (!field.columnOf.isDeclared) widenColumn(field.columnOf, widerOf(field.columnOf.type, type));
  } else {
    if (!parser.hasRoomForColumns(1)) return;
    field.column = changetype<usize>(parser.batch.column(parser.batch.addColumn(path, length, type)));
  }
  parser.refreshKeys();
}

export function parserBegin(parser: Parser, arrivalUs: i64): void {
  parser.begin(arrivalUs);
}

/**
 * Where the caller is to copy a body of that many bytes, valid until the next call; the padding behind it is set. 0 when
 * the batch would take more than one may.
 */
export function parseInput(parser: Parser, length: u32): usize {
  if (length > MAX_BATCH_INPUT_BYTES - parser.inputBytes) return 0;
  parser.inputBytes += length;
  const needed = length + PADDING_BYTES;
  if (input == 0 || needed > inputBytes || (inputBytes > KEPT_INPUT_BYTES && needed <= KEPT_INPUT_BYTES)) {
    if (input != 0) heap.free(input);
    inputBytes = max<u32>(needed + (needed >> 2), 64 << 10);
    input = heap.alloc(inputBytes);
  }
  memory.fill(input + length, 0, PADDING_BYTES);
  return input;
}

/** Appends the events of the body in `parseInput`'s memory to the batch. Gives an `Outcome`, valid until the next call. */
export function parseBody(parser: Parser, format: u32, length: u32): usize {
  clearFaults();
  let start = input;
  const end = input + length;
  // A byte order mark, which RFC 8259 lets a parser ignore.
  if (length >= 3 && (load<u32>(start) & 0xffffff) == 0xbfbbef) start += 3;
  if (format == Format.Csv) readCsv(parser, start, end);
  else if (format == Format.Document) readDocument(parser, start, end);
  else readLines(parser, start, end);
  outcome.accepted = accepted;
  outcome.bad = bad;
  outcome.faults = faults.data;
  outcome.faultBytes = faults.length;
  outcome.paths = paths.data;
  return changetype<usize>(outcome);
}

/** The batch, ready to be read until the next `parserBegin` of any parser. */
export function parserFinish(parser: Parser): Batch {
  return parser.finish();
}

/** What gave the rows' times: see `MARK_ARRIVAL` and `timeMark`. */
export function parserMarks(parser: Parser): u32 {
  return parser.batchMarks;
}

export function parserBatch(parser: Parser): Batch {
  return parser.batch;
}

export function parserDispose(parser: Parser): void {
  parser.dispose();
}
