import { Batch, ColumnType } from "../batch/batch";
import { parseCsv } from "./csv";
import { Extra, Parser } from "./parser";
import { Unit } from "../parse/time";

export function parserCreate(
  isDeclared: u32,
  extra: u32,
  unit: u32,
  isTimeDeclared: u32,
  isKeyDeclared: u32,
  maxAheadUs: i64,
): Parser {
  const parser = Parser.create();
  parser.isDeclared = isDeclared;
  parser.extra = <Extra>extra;
  parser.unit = <Unit>unit;
  parser.isTimeDeclared = isTimeDeclared;
  parser.isKeyDeclared = isKeyDeclared;
  parser.maxAheadUs = maxAheadUs;
  return parser;
}

/** The next time field by rank. */
export function parserAddTime(parser: Parser, path: usize, length: u32): void {
  const rank = parser.timeFields++;
  parser.members.member(parser.declarePath(path, length, true)).timeRank = rank;
}

export function parserAddKey(parser: Parser, path: usize, length: u32): void {
  parser.keyColumns.u32(parser.declarePath(path, length, true));
}

export function parserAddField(parser: Parser, path: usize, length: u32, type: u32, isDeclared: u32): void {
  parser.addField(path, length, <ColumnType>type, isDeclared != 0);
}

export function parserBegin(parser: Parser, arrivalUs: i64): void {
  parser.begin(arrivalUs);
}

/** Formats: 0 NDJSON, 1 JSON, 2 CSV. The input has 64 zero bytes behind it. @returns the accepted rows. */
export function parserParse(parser: Parser, format: u32, input: usize, length: u32): u32 {
  if (format == 0) return parser.parseLines(input, length);
  return format == 1 ? parser.parseDocument(input, length) : parseCsv(parser, input, length);
}

export function parserBad(parser: Parser): u32 {
  return parser.bad;
}

export function parserErrors(parser: Parser): usize {
  return parser.errors.data;
}

export function parserErrorBytes(parser: Parser): u32 {
  return parser.errors.length;
}

export function parserFinish(parser: Parser): Batch {
  parser.batch.seal();
  return parser.batch;
}

export function parserMemberPath(parser: Parser, id: u32): usize {
  return parser.members.paths.pointer(id);
}

export function parserMemberPathLength(parser: Parser, id: u32): u32 {
  return parser.members.paths.length(id);
}

export function parserDispose(parser: Parser): void {
  parser.dispose();
}
