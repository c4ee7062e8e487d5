import { addFault } from "./faults";
import { readElement } from "./lines";
import { Parser } from "./parser";
import { failAt, Problem } from "./problem";
import { FEED_IN_DOCUMENT, setLineFeed, skipSpace, skipValue, UNLIMITED_DEPTH } from "./value";

/**
 * Reads one JSON document, an event or an array of them. It is checked as a whole first, so that one that is cut or
 * malformed is set aside whole; after that an event can only be bad by itself.
 */
export function readDocument(parser: Parser, start: usize, end: usize): void {
  parser.lineFeed = FEED_IN_DOCUMENT;
  setLineFeed(FEED_IN_DOCUMENT);
  let at = skipSpace(start);
  if (at >= end) return;
  const documentEnd = skipValue(at, 0, UNLIMITED_DEPTH);
  if (documentEnd == 0) return addFault(1, start, end, 0, 0);
  const rest = skipSpace(documentEnd);
  if (rest < end) {
    failAt(Problem.Trailing, rest);
    return addFault(1, start, end, 0, 0);
  }
  if (load<u8>(at) != 0x5b) {
    readElement(parser, at, 1);
    return;
  }
  at = skipSpace(at + 1);
  if (load<u8>(at) == 0x5d) return;
  let number: u32 = 0;
  while (true) {
    at = skipSpace(readElement(parser, at, ++number));
    if (load<u8>(at) != 0x2c) return;
    at = skipSpace(at + 1);
  }
}
