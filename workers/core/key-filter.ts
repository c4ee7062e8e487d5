import type { BatchHandle } from "./codec.ts";
import { encodeNames } from "./decode-columns.ts";
import { type CoreModule, copyIn, copyOut } from "./module.ts";

interface FilterExports {
  allocate(length: number): number;
  release(at: number): void;
  keyFilterBuild(batch: number, names: number, count: number, maxBytes: number): number;
  keyFilterTest(filter: number, length: number, key: number, keyLength: number): number;
}

/** Which keys a block may hold. */
export interface BlockKeys {
  /** The fields whose texts are in the filter. */
  readonly fields: readonly string[];
  /** As `assembly/query/key-filter.ts` lays it out. */
  readonly filter: Uint8Array<ArrayBuffer>;
}

const utf8 = new TextEncoder();

/** The keys of a batch that holds one block; null where a key is no text, or the filter would be larger than `maxBytes`. */
export function keysOf(
  core: CoreModule,
  batch: BatchHandle,
  fields: readonly string[],
  maxBytes: number,
): BlockKeys | null {
  const { allocate, release, keyFilterBuild } = core.exports as unknown as FilterExports;
  const names = encodeNames(fields);
  const input = allocate(names.length + 4) >>> 0;
  copyIn(core, input, names);
  const out = keyFilterBuild(batch, input, fields.length, maxBytes) >>> 0;
  release(input);
  if (out === 0) return null;
  const view = new DataView(core.memory.buffer, out, 8);
  return { fields, filter: copyOut(core, view.getUint32(0, true), view.getUint32(4, true)) };
}

/** Whether a block of these keys may hold the key in any of the fields. */
export function mayHold(core: CoreModule, keys: BlockKeys, fields: readonly string[], key: string): boolean {
  if (!fields.every((field) => keys.fields.includes(field))) return true;
  const { allocate, release, keyFilterTest } = core.exports as unknown as FilterExports;
  const text = utf8.encode(key);
  const input = allocate(keys.filter.length + text.length + 16) >>> 0;
  copyIn(core, input, keys.filter);
  copyIn(core, input + keys.filter.length, text);
  const answer = keyFilterTest(input, keys.filter.length, input + keys.filter.length, text.length);
  release(input);
  return answer !== 0;
}
