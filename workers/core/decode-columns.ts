import { BlockError } from "./block-header.ts";
import { type BatchHandle, FAILURES, INPUT_PADDING_BYTES } from "./codec.ts";
import { type CoreModule, copyIn } from "./module.ts";

interface DecodeExports {
  allocate(length: number): number;
  release(at: number): void;
  queryDecodeColumns(block: number, length: number, batch: number, names: number, count: number): number;
  queryDecodeOnly(block: number, length: number, batch: number, names: number, count: number): number;
  queryDecodeRest(batch: number): number;
}

const utf8 = new TextEncoder();

function exportsOf(core: CoreModule): DecodeExports {
  return core.exports as unknown as DecodeExports;
}

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
  const { queryDecodeColumns, queryDecodeRest } = exportsOf(core);
  return withBlock(core, bytes, names, (block, list) => {
    check(queryDecodeColumns(block, bytes.length, into, list, names.length));
    if (!isNeeded()) return false;
    check(queryDecodeRest(into));
    return true;
  });
}

/**
 * Appends a block's rows to a batch with the named columns alone. Another one may be there too, with its values, where these
 * are stored by it.
 * @throws BlockError as `decodeBlock`
 */
export function decodeOnly(
  core: CoreModule,
  bytes: Uint8Array,
  into: BatchHandle,
  names: readonly string[],
): void {
  const { queryDecodeOnly } = exportsOf(core);
  withBlock(core, bytes, names, (block, list) =>
    check(queryDecodeOnly(block, bytes.length, into, list, names.length)),
  );
}

/** Has a block and a list of names stand in the core's memory. */
function withBlock<T>(
  core: CoreModule,
  bytes: Uint8Array,
  names: readonly string[],
  use: (block: number, list: number) => T,
): T {
  const { allocate, release } = exportsOf(core);
  const list = encodeNames(names);
  const block = allocate(bytes.length + INPUT_PADDING_BYTES + list.length) >>> 0;
  const listAt = block + bytes.length + INPUT_PADDING_BYTES;
  copyIn(core, block, bytes);
  copyIn(core, listAt, list);
  try {
    return use(block, listAt);
  } finally {
    release(block);
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
