import { ByteBuffer } from "../memory/bytes";
import { numberEnd, readNumber } from "./number";
import { failAt, Problem, problem } from "./problem";
import { readString } from "./text";

/** Containers within containers, the event's own object counted. */
export const MAX_DEPTH: u32 = 64;
export const UNLIMITED_DEPTH: u32 = 0x7fffffff;

const TRUE: u32 = 0x65757274;
const FALSE_REST: u32 = 0x65736c61;
const NULL: u32 = 0x6c6c756e;
const KEPT_NESTING_BYTES: u32 = 1 << 20;

/** One byte for each open container: its opening bracket. */
let nesting: ByteBuffer = changetype<ByteBuffer>(0);

/** In documents a line feed is white space; in lines it ends the line. */
export const FEED_IN_DOCUMENT: u32 = 0x0a;
export const FEED_IN_LINE: u32 = 0x20;
let lineFeed: u32 = FEED_IN_LINE;

/** What counts as white space beside blank, tab and carriage return, from now on. */
export function setLineFeed(byte: u32): void {
  lineFeed = byte;
}

/** The next byte that is no white space. Stops at the zeros behind a body. */
@inline
export function skipSpace(at: usize): usize {
  while (isSpace(load<u8>(at))) at++;
  return at;
}

@inline
export function isSpace(byte: u32): bool {
  return byte == 0x20 || byte == 0x0d || byte == 0x09 || byte == lineFeed;
}

/** Where the line after the blanks at `at` begins, or 0 when more than blanks stands there. */
export function afterBlanks(at: usize, end: usize): usize {
  while (at < end && isSpace(load<u8>(at))) at++;
  if (at >= end) return end;
  return load<u8>(at) == 0x0a ? at + 1 : 0;
}

/** Checks true, false or null at `at`; gives where it ends, or 0. */
export function readWord(at: usize): usize {
  const word = load<u32>(at);
  if (word == TRUE || word == NULL) return at + 4;
  if (load<u8>(at) == 0x66 && load<u32>(at, 1) == FALSE_REST) return at + 5;
  return failAt(Problem.Syntax, at);
}

/**
 * Checks one value and gives where it ends, or 0. `depth`: containers already open; more than `maxDepth` of them is a
 * problem. With unlimited depth, numbers too great and lone surrogates pass as well: these are faults of an event, not of
 * the document's form. Cost: no recursion; a byte of memory for each open container.
 */
export function skipValue(at: usize, depth: u32, maxDepth: u32): usize {
  if (changetype<usize>(nesting) == 0 || nesting.capacity > KEPT_NESTING_BYTES) {
    if (changetype<usize>(nesting) != 0) nesting.dispose();
    nesting = ByteBuffer.create(1024);
  }
  nesting.reset();
  const isLenient = maxDepth == UNLIMITED_DEPTH;
  while (true) {
    const byte = load<u8>(at);
    if (byte == 0x7b || byte == 0x5b) {
      if (depth + nesting.length >= maxDepth) return failAt(Problem.Depth, at);
      nesting.u8(byte);
      at = skipSpace(at + 1);
      const next = load<u8>(at);
      // The closing brackets stand two after the opening ones.
      if (next != byte + 2) {
        if (byte == 0x5b) continue;
        at = skipKey(at, isLenient);
        if (at == 0) return 0;
        continue;
      }
      nesting.length -= 1;
      at++;
    } else {
      at = skipScalar(at, byte, isLenient);
      if (at == 0) return 0;
    }
    // A value has ended: close what it ends.
    while (true) {
      if (nesting.length == 0) return at;
      at = skipSpace(at);
      const open = load<u8>(nesting.data + nesting.length - 1);
      const next = load<u8>(at);
      if (next == 0x2c) {
        at = skipSpace(at + 1);
        if (open == 0x7b) {
          at = skipKey(at, isLenient);
          if (at == 0) return 0;
        }
        break;
      }
      if (next != open + 2) return failAt(Problem.Syntax, at);
      nesting.length -= 1;
      at++;
    }
  }
}

/** A key, its colon, and the white space around them. */
function skipKey(at: usize, isLenient: bool): usize {
  if (load<u8>(at) != 0x22) return failAt(Problem.Syntax, at);
  at = readString(at + 1, isLenient);
  if (at == 0) return 0;
  at = skipSpace(at + 1);
  if (load<u8>(at) != 0x3a) return failAt(Problem.Syntax, at);
  return skipSpace(at + 1);
}

function skipScalar(at: usize, byte: u32, isLenient: bool): usize {
  if (byte == 0x22) {
    const end = readString(at + 1, isLenient);
    return end == 0 ? 0 : end + 1;
  }
  if (byte != 0x2d && byte - 48 > 9) return readWord(at);
  const end = readNumber(at);
  return end == 0 && isLenient && problem == Problem.NumberTooGreat ? numberEnd : end;
}

/** Copies checked JSON without the white space outside its strings. Gives the length. */
export function compact(at: usize, end: usize, target: usize): u32 {
  const start = target;
  let isInString = false;
  for (; at < end; at++) {
    const byte = load<u8>(at);
    if (!isInString && isSpace(byte)) continue;
    store<u8>(target++, byte);
    if (byte == 0x22) isInString = !isInString;
    if (byte == 0x5c) store<u8>(target++, load<u8>(++at));
  }
  return <u32>(target - start);
}
