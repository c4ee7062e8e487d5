/** Blocks of one stream that go over the wire as one, since together they take fewer bytes. The reader takes them apart again. */

/** What a block of them is known by. */
export interface MergedPart {
  /** As of `BlockItem`. */
  readonly id: number;
  readonly arrivalUs: number;
  readonly count: number;
  /** Of the block's bytes as it would have been sent by itself, so that it is known again however it comes: 16 hexadecimal digits. */
  readonly digest: string;
}

export interface MergedBlocks {
  readonly stream: string;
  readonly resolutionUs: number;
  readonly codec: "none" | "zstd";
  readonly encodedBytes: number;
  /** In the order of their rows, which stay together. */
  readonly parts: readonly MergedPart[];
  /** One block with the rows of all. Within a part they are in an order of its own. */
  readonly data: Uint8Array;
}

/** A reader makes a block of each part: these bound what that takes. */
export const MAX_MERGED_PARTS = 1_024;
export const MAX_MERGED_ROWS = 65_536;

const DIGEST_DIGITS = 16;

interface Meta {
  readonly stream: string;
  readonly resolutionUs: number;
  readonly codec: "none" | "zstd";
  readonly encodedBytes: number;
  /** The first id and arrival, then what each has more than the one before it. */
  readonly ids: readonly number[];
  readonly arrivalsUs: readonly number[];
  readonly counts: readonly number[];
  readonly digests: string;
}

/** What stands in front of the merged block, in JSON. */
export function mergedMeta({ stream, resolutionUs, codec, encodedBytes, parts }: MergedBlocks): Meta {
  return {
    stream,
    resolutionUs,
    codec,
    encodedBytes,
    ids: differences(parts.map(({ id }) => id)),
    arrivalsUs: differences(parts.map(({ arrivalUs }) => arrivalUs)),
    counts: parts.map(({ count }) => count),
    digests: parts.map(({ digest }) => digest).join(""),
  };
}

/** Reads what `mergedMeta` made. It comes from outside: `refuse` is told what is wrong, and does not come back. */
export function readMergedMeta(value: unknown, refuse: (what: string) => never): Omit<MergedBlocks, "data"> {
  if (typeof value !== "object" || value === null) return refuse("no object");
  const { stream, resolutionUs, codec, encodedBytes, ids, arrivalsUs, counts, digests } = value as Readonly<
    Record<keyof Meta, unknown>
  >;
  if (typeof stream !== "string" || !/^[A-Za-z0-9_.-]{1,128}$/.test(stream))
    return refuse("stream is no name");
  if (codec !== "none" && codec !== "zstd") return refuse("codec is neither none nor zstd");
  if (!isCount(resolutionUs) || !isCount(encodedBytes)) return refuse("a size is no count");
  if (!isIntegers(ids) || !isIntegers(arrivalsUs) || !isIntegers(counts))
    return refuse("a list is not of integers");
  const { length } = ids;
  if (length === 0 || length > MAX_MERGED_PARTS || arrivalsUs.length !== length || counts.length !== length)
    return refuse("its lists are of other lengths");
  if (
    typeof digests !== "string" ||
    digests.length !== length * DIGEST_DIGITS ||
    !/^[0-9a-f]*$/.test(digests)
  )
    return refuse("digests are not hexadecimal");
  const idSums = sums(ids);
  if (!idSums.every(isCount) || !counts.every(isCount)) return refuse("an id or a count is below 0");
  if (counts.reduce((sum, count) => sum + count, 0) > MAX_MERGED_ROWS) return refuse("it has too many rows");
  const arrivals = sums(arrivalsUs);
  return {
    stream,
    resolutionUs,
    codec,
    encodedBytes,
    parts: idSums.map((id, index) => ({
      id,
      arrivalUs: arrivals[index]!,
      count: counts[index]!,
      digest: digests.slice(index * DIGEST_DIGITS, (index + 1) * DIGEST_DIGITS),
    })),
  };
}

function differences(values: readonly number[]): number[] {
  return values.map((value, index) => value - (values[index - 1] ?? 0));
}

function sums(steps: readonly number[]): number[] {
  let sum = 0;
  return steps.map((step) => {
    sum += step;
    return sum;
  });
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function isIntegers(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.length <= MAX_MERGED_PARTS && value.every(Number.isInteger);
}
