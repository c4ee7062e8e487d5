import { commitMembers } from "./commit";
import { addFault, addCommitFault, addReadFault, countAccepted } from "./faults";
import { learnKeys } from "./learn";
import { readObject } from "./object";
import { Parser } from "./parser";
import { failAt, Problem } from "./problem";
import { readRow } from "./row";
import { readRows, rowsRead } from "./rows";
import { forgetStructure } from "./structure";
import {
  afterBlanks,
  FEED_IN_LINE,
  isSpace,
  MAX_DEPTH,
  setLineFeed,
  skipSpace,
  skipValue,
  UNLIMITED_DEPTH,
} from "./value";

export const MAX_LINE_BYTES: usize = 1 << 20;
/** A shorter text is read row by row. */
const TOGETHER_BYTES: usize = 256;
/** To read rows together costs more than it brings where the next odd one comes sooner. */
const WORTHWHILE_ROWS: u32 = 4;
/** Rows that are read one by one after tries in vain, at most. */
const MAX_PAUSE: u32 = 8191;

/** Reads lines of JSON objects into rows. Blank lines are skipped; a bad line is set aside and leaves no trace. */
export function readLines(parser: Parser, start: usize, end: usize): void {
  parser.lineFeed = FEED_IN_LINE;
  setLineFeed(FEED_IN_LINE);
  forgetStructure();
  let line: u32 = 0;
  let at = start;
  while (at < end) {
    if (parser.pause != 0) {
      parser.pause--;
    } else if (end - at >= TOGETHER_BYTES) {
      at = readRows(parser, at, end);
      line += rowsRead;
      countAccepted(rowsRead);
      if (at >= end) break;
      parser.nextPause = rowsRead >= WORTHWHILE_ROWS ? 0 : min<u32>(parser.nextPause << 1 | 1, MAX_PAUSE);
      parser.pause = parser.nextPause;
    }
    line++;
    if (load<u8>(at) == 0x7b && parser.hasRoom()) {
      const extraBytes = parser.batch.extra.bytes.length;
      const rowEnd = readRow(parser, at);
      if (rowEnd != 0) {
        const next = load<u8>(rowEnd) == 0x0a ? rowEnd + 1 : afterBlanks(rowEnd, end);
        if (next != 0 && next - at <= MAX_LINE_BYTES && parser.endRow(extraBytes)) {
          countAccepted();
          at = next;
          continue;
        }
      }
      parser.rollBack(extraBytes);
    }
    const lineEnd = findLineFeed(at, end);
    readLine(parser, at, trimEnd(at, lineEnd), line);
    at = lineEnd + 1;
  }
}

/** The next line feed, or `end`. */
export function findLineFeed(at: usize, end: usize): usize {
  while (at < end) {
    const feeds = i8x16.bitmask(i8x16.eq(v128.load(at), i8x16.splat(0x0a)));
    if (feeds != 0) return min<usize>(at + ctz<i32>(feeds), end);
    at += 16;
  }
  return end;
}

function trimEnd(start: usize, end: usize): usize {
  while (end > start && isSpace(load<u8>(end - 1))) end--;
  return end;
}

/** Reads a line that is not like the one before. */
function readLine(parser: Parser, start: usize, end: usize, line: u32): void {
  const at = skipSpace(start);
  if (at >= end) return;
  if (end - start > MAX_LINE_BYTES) {
    failAt(Problem.LineTooLong, start);
    return addFault(line, start, end, 0, 0);
  }
  if (load<u8>(at) != 0x7b) {
    refuseOther(at, end);
    return addFault(line, start, end, 0, 0);
  }
  const objectEnd = readObject(parser.plan, at);
  if (objectEnd != 0 && objectEnd != end) failAt(Problem.Trailing, objectEnd);
  if (objectEnd != end) return addReadFault(line, start, end);
  if (!commitRead(parser, at)) return addCommitFault(line, start, end);
  countAccepted();
}

/** Makes what `readObject` has read from `at` a row, and learns from it. */
export function commitRead(parser: Parser, at: usize): bool {
  if (!commitMembers(parser)) return false;
  if (parser.isStale) parser.refreshKeys();
  if (parser.missesKey) {
    parser.missesKey = 0;
    learnKeys(parser, at);
  }
  return true;
}

/** Notes what is wrong with a text that does not begin an object: a value of another type, or no JSON. */
export function refuseOther(at: usize, end: usize): void {
  const valueEnd = skipValue(at, 0, UNLIMITED_DEPTH);
  if (valueEnd == 0) return;
  if (skipSpace(valueEnd) != end) failAt(Problem.Trailing, valueEnd);
  else failAt(Problem.NotObject, at);
}

/** Reads the object at `start` of a document that was found well-formed. Gives where it ends. */
export function readElement(parser: Parser, start: usize, number: u32): usize {
  if (load<u8>(start) == 0x7b && parser.hasRoom()) {
    const extraBytes = parser.batch.extra.bytes.length;
    const rowEnd = readRow(parser, start);
    if (rowEnd != 0 && rowEnd - start <= MAX_LINE_BYTES && parser.endRow(extraBytes)) {
      countAccepted();
      return rowEnd;
    }
    parser.rollBack(extraBytes);
  }
  const end = skipValue(start, 0, UNLIMITED_DEPTH);
  if (end - start > MAX_LINE_BYTES) {
    failAt(Problem.LineTooLong, start);
    addFault(number, start, end, 0, 0);
  } else if (load<u8>(start) != 0x7b) {
    failAt(Problem.NotObject, start);
    addFault(number, start, end, 0, 0);
  } else if (readObject(parser.plan, start) == 0) {
    addReadFault(number, start, end);
  } else if (!commitRead(parser, start)) {
    addCommitFault(number, start, end);
  } else {
    countAccepted();
  }
  return end;
}
