import type { CoreModule, Pointer } from "./module.ts";

/** A key as JSON text, and the memory that it takes. */
export interface KeySize {
  readonly key: string;
  readonly bytes: number;
}

/** Some of the keys: the largest among those looked at. */
export interface KeySizes {
  readonly largest: readonly KeySize[];
  /** Where to go on; null when all were looked at. */
  readonly next: number | null;
}

/** Records looked at in one go: some ms. */
const LOOK_RECORDS = 16_384;

/** Names the keys that take most memory, a part of them at a time, from number `from` on. */
export type LargestKeys = (from: number, limit: number) => KeySizes;

/** `panes`: in how many a key may be. */
export function largestKeys(
  core: CoreModule,
  prefix: "windows" | "keyed",
  windows: Pointer,
  panes: () => number,
  keyText: (key: number) => string,
): LargestKeys {
  const exports = core.exports as unknown as Record<string, (windows: number, key?: number) => number>;
  const bytesOf = exports[`${prefix}KeyBytes`]!;
  const endOf = exports[`${prefix}KeyEnd`]!;
  return (from, limit) => {
    const keys = endOf(windows);
    const end = Math.min(keys, from + Math.ceil(LOOK_RECORDS / Math.max(1, panes())));
    const found: { number: number; bytes: number }[] = [];
    for (let number = from; number < end; number++) {
      const bytes = bytesOf(windows, number);
      if (bytes === 0 || (found.length === limit && bytes <= found[limit - 1]!.bytes)) continue;
      found.push({ number, bytes });
      found.sort((a, b) => b.bytes - a.bytes);
      if (found.length > limit) found.pop();
    }
    const largest = found.map(({ number, bytes }) => ({ key: keyText(number), bytes }));
    return { largest, next: end < keys ? end : null };
  };
}
