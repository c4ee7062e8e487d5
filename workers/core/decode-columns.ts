import { BlockError } from "./block-header.ts";
import { type BatchHandle, FAILURES, INPUT_PADDING_BYTES } from "./codec.ts";
import { type CoreModule, copyIn } from "./module.ts";

interface DecodeExports {
  allocate(length: number): number;
  release(at: number): void;
  queryDecodeColumns(block: number, length: number, batch: number, names: number, count: number): number;
}

const utf8 = new TextEncoder();

/**
 * Appends a block's rows to a batch with the named columns alone; the others are null.
 * @throws BlockError as `decodeBlock`
 */
export function decodeNamedColumns(
  core: CoreModule,
  bytes: Uint8Array,
  into: BatchHandle,
  names: readonly string[],
): void {
  const { allocate, release, queryDecodeColumns } = core.exports as unknown as DecodeExports;
  const texts = names.map((name) => utf8.encode(name));
  const list = new Uint8Array(texts.reduce((sum, { length }) => sum + 4 + length, 0));
  const view = new DataView(list.buffer);
  let next = 0;
  for (const text of texts) {
    view.setUint32(next, text.length, true);
    list.set(text, next + 4);
    next += 4 + text.length;
  }
  const input = allocate(bytes.length + INPUT_PADDING_BYTES + list.length) >>> 0;
  copyIn(core, input, bytes);
  const listAt = input + bytes.length + INPUT_PADDING_BYTES;
  copyIn(core, listAt, list);
  const failure = queryDecodeColumns(input, bytes.length, into, listAt, names.length);
  release(input);
  if (failure !== 0) throw new BlockError(FAILURES[failure] ?? "E_BLOCK_CORRUPT");
}
