import { BlockError } from "./block-header.ts";
import { type BatchHandle, FAILURES, INPUT_PADDING_BYTES } from "./codec.ts";
import { type CoreModule, copyIn } from "./module.ts";

interface DecodeExports {
  allocate(length: number): number;
  release(at: number): void;
  queryDecodeColumns(block: number, length: number, batch: number, names: number, count: number): number;
  queryDecodeRest(batch: number): number;
}

const utf8 = new TextEncoder();

/**
 * Appends a block's rows to a batch, first the named columns alone while the others are null. When `isNeeded` says so
 * of them, the others follow. Gives what it said.
 * @throws BlockError as `decodeBlock`
 */
export function decodeIfNeeded(
  core: CoreModule,
  bytes: Uint8Array,
  into: BatchHandle,
  names: readonly string[],
  isNeeded: () => boolean,
): boolean {
  const { allocate, release, queryDecodeColumns, queryDecodeRest } = core.exports as unknown as DecodeExports;
  const list = encodeNames(names);
  const input = allocate(bytes.length + INPUT_PADDING_BYTES + list.length) >>> 0;
  const listAt = input + bytes.length + INPUT_PADDING_BYTES;
  copyIn(core, input, bytes);
  copyIn(core, listAt, list);
  try {
    check(queryDecodeColumns(input, bytes.length, into, listAt, names.length));
    if (!isNeeded()) return false;
    check(queryDecodeRest(into));
    return true;
  } finally {
    release(input);
  }
}

/** A u32 length and the UTF-8 of each. */
export function encodeNames(names: readonly string[]): Uint8Array {
  const texts = names.map((name) => utf8.encode(name));
  const list = new Uint8Array(texts.reduce((sum, { length }) => sum + 4 + length, 0));
  const view = new DataView(list.buffer);
  let next = 0;
  for (const text of texts) {
    view.setUint32(next, text.length, true);
    list.set(text, next + 4);
    next += 4 + text.length;
  }
  return list;
}

function check(failure: number): void {
  if (failure !== 0) throw new BlockError(FAILURES[failure] ?? "E_BLOCK_CORRUPT");
}
