import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { REPOSITORY_ROOT } from "./node-process.ts";

const MEMORY_SECTION = 5;
const HEAD_BYTES = 8;
/** The limits of a memory have a maximum. */
const HAS_MAXIMUM = 1;

/**
 * Writes a build of the core whose memory cannot grow beyond so many pages of 64 KiB, and is the same otherwise: a node takes
 * it by `MILLRACE_WASM`. @returns the file
 */
export function writeSmallCore(dir: string, maxPages: number): string {
  const wasm = readFileSync(join(REPOSITORY_ROOT, "build/millrace.wasm"));
  for (let at = HEAD_BYTES; at < wasm.length; ) {
    const section = wasm[at];
    const size = readVarint(wasm, at + 1);
    if (section === MEMORY_SECTION) {
      // One memory: how many there are, flags, least pages, most pages.
      const flags = size.end + 1;
      if (wasm[size.end] !== 1 || wasm[flags] !== HAS_MAXIMUM) break;
      const most = readVarint(wasm, readVarint(wasm, flags + 1).end);
      writePadded(wasm, most, maxPages);
      const file = join(dir, "small.wasm");
      writeFileSync(file, wasm);
      return file;
    }
    at = size.end + size.value;
  }
  throw new Error("the core has no memory with a maximum");
}

interface Varint {
  readonly at: number;
  readonly value: number;
  readonly end: number;
}

function readVarint(bytes: Uint8Array, at: number): Varint {
  let value = 0;
  for (let end = at; ; end++) {
    const byte = bytes[end]!;
    value += (byte & 0x7f) * 2 ** (7 * (end - at));
    if (byte < 0x80) return { at, value, end: end + 1 };
  }
}

/** In as many bytes as are there. */
function writePadded(bytes: Uint8Array, { at, end }: Varint, value: number): void {
  for (let place = at; place < end; place++) {
    bytes[place] = (Math.floor(value / 2 ** (7 * (place - at))) & 0x7f) | (place === end - 1 ? 0 : 0x80);
  }
}
