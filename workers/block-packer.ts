import type { BlockHeader } from "./core/block-header.ts";
import { release, releaseBytes } from "./move.ts";
import type { Codec } from "./zstd.ts";
import { rawFrameBytes, writeRawFrame } from "./zstd-frame.ts";

/** zstd level of stored blocks: the columns are already small, a higher level buys little. */
const LEVEL = 1;
/** Smaller blocks are compressed whole: a call costs as much as some thousand bytes. */
const MIN_BYTES = 4_096;
/** One block in so many is compressed section by section, to see which of them gain. */
const BLOCKS_BETWEEN_TRIALS = 64;
/** A plan is for blocks up to so many times larger or smaller than the one it was made from. */
const SIZE_RANGE = 2;
/** A section gains when it becomes smaller by a part in so many, and by so many bytes. */
const GAIN_PART = 32;
const GAIN_BYTES = 16;
/** A call saves so many bytes of a block, or is not made: it takes 40 to 60 µs at a hundred blocks a second, whatever is in it. */
const CALL_GAIN_BYTES = 128;
/** Shorter sections go with what stands before them. */
const MIN_SECTION_BYTES = 64;
/** A shorter stretch without gain is compressed with its neighbours. */
const MIN_RAW_BYTES = 1_024;
/** A plan may come out so much larger than compressing all. */
const TOLERANCE = 1.005;

/** A stretch of sections that are compressed together, or kept as they are. */
interface Stretch {
  /** One behind the last section; those of the stretch before end where this begins. The head goes with the first. */
  readonly end: number;
  readonly isPacked: boolean;
}

/** What was found to be worth it, and of which blocks. */
interface Plan {
  readonly schemaId: number;
  readonly sections: number;
  readonly bytes: number;
  /** null: compress all. */
  readonly stretches: readonly Stretch[] | null;
}

/**
 * Compresses the blocks of one stream, as zstd frames one behind the other: most columns are packed so tightly that compressing
 * them is lost work, so those that gained nothing lately stand in a frame that holds them as they are. Readers know
 * no difference. Cost: that of the sections that gain, and every 64th block about twice as much as compressing all.
 */
export class BlockPacker {
  readonly #codec: Codec;
  #plan: Plan | null = null;
  #untilTrial = 0;

  constructor(codec: Codec) {
    this.#codec = codec;
  }

  /** The block as zstd data, or null when that is not smaller. `header` is the block's. */
  pack(block: Uint8Array, header: BlockHeader): Uint8Array<ArrayBuffer> | null {
    return ifSmaller(
      block.length < MIN_BYTES ? this.#compress(block) : this.#packLarge(block, header),
      block,
    );
  }

  #packLarge(block: Uint8Array, header: BlockHeader): Uint8Array<ArrayBuffer> | null {
    const ends = sectionEnds(block, header.namesEnd);
    if (this.#untilTrial === 0) return this.#try(block, header.schemaId, ends);
    this.#untilTrial--;
    const plan = this.#plan;
    const isFit =
      plan !== null &&
      plan.schemaId === header.schemaId &&
      plan.sections === ends.length &&
      block.length <= plan.bytes * SIZE_RANGE &&
      block.length >= plan.bytes / SIZE_RANGE;
    return isFit && plan.stretches !== null
      ? this.#follow(block, ends, plan.stretches)
      : this.#compress(block);
  }

  /** Compresses the block whole, and sees what the next ones need. */
  #try(block: Uint8Array, schemaId: number, ends: readonly number[]): Uint8Array<ArrayBuffer> | null {
    this.#untilTrial = BLOCKS_BETWEEN_TRIALS;
    const whole = this.#compress(block);
    const stretches = this.#findStretches(block, ends);
    const planned =
      stretches === null ? null : (this.#follow(block, ends, stretches)?.length ?? block.length);
    const isWorthIt =
      planned !== null && planned <= Math.min(whole.length, block.length) * TOLERANCE + CALL_GAIN_BYTES;
    const plan = { schemaId, sections: ends.length, bytes: block.length };
    this.#plan = { ...plan, stretches: isWorthIt ? stretches : null };
    return whole;
  }

  /** null when all should be compressed. */
  #findStretches(block: Uint8Array, ends: readonly number[]): Stretch[] | null {
    const found: Stretch[] = [];
    let start = 0;
    for (const [index, end] of ends.entries()) {
      const before = found.at(-1);
      const isShort = end - start < MIN_SECTION_BYTES;
      const isPacked = isShort ? (before?.isPacked ?? true) : this.#gains(block.subarray(start, end));
      if (before?.isPacked === isPacked) found.pop();
      found.push({ end: index + 1, isPacked });
      start = end;
    }
    const joined: Stretch[] = [];
    for (const { end, isPacked } of found) {
      const before = joined.at(-1);
      const from = before === undefined ? 0 : ends[before.end - 1]!;
      const isKept = !isPacked && ends[end - 1]! - from >= MIN_RAW_BYTES;
      if (before !== undefined && before.isPacked === !isKept) joined.pop();
      joined.push({ end, isPacked: !isKept });
    }
    return joined.every(({ isPacked }) => isPacked) ? null : this.#withoutIdleCalls(block, ends, joined);
  }

  /** Keeps as they are those that gain, but less than a call is worth. */
  #withoutIdleCalls(block: Uint8Array, ends: readonly number[], stretches: readonly Stretch[]): Stretch[] {
    const kept: Stretch[] = [];
    let start = 0;
    for (const { end, isPacked } of stretches) {
      const bytes = block.subarray(start, ends[end - 1]);
      start += bytes.length;
      const before = kept.at(-1);
      const isWorthIt = isPacked && bytes.length - this.#compress(bytes).length >= CALL_GAIN_BYTES;
      if (before?.isPacked === isWorthIt) kept.pop();
      kept.push({ end, isPacked: isWorthIt });
    }
    return kept;
  }

  #gains(section: Uint8Array): boolean {
    const saved = section.length - this.#compress(section).length;
    return saved >= GAIN_BYTES && saved >= section.length / GAIN_PART;
  }

  /** null when nothing is to be compressed. */
  #follow(
    block: Uint8Array,
    ends: readonly number[],
    stretches: readonly Stretch[],
  ): Uint8Array<ArrayBuffer> | null {
    if (stretches.every(({ isPacked }) => !isPacked)) return null;
    let start = 0;
    const parts = stretches.map(({ end, isPacked }) => {
      const bytes = block.subarray(start, ends[end - 1]);
      start += bytes.length;
      return { bytes: isPacked ? this.#compress(bytes) : bytes, isPacked };
    });
    const total = parts.reduce(
      (sum, { bytes, isPacked }) => sum + (isPacked ? bytes.length : rawFrameBytes(bytes.length)),
      0,
    );
    const packed = new Uint8Array(total);
    let at = 0;
    for (const { bytes, isPacked } of parts) {
      if (!isPacked) {
        at = writeRawFrame(packed, at, [bytes]);
        continue;
      }
      packed.set(bytes, at);
      at += bytes.length;
      releaseBytes(bytes);
    }
    return packed;
  }

  #compress(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
    return this.#codec.compress(bytes, LEVEL);
  }
}

/** A block of which no others follow, as zstd data in one frame, or null when that is not smaller. */
export function packWhole(codec: Codec, block: Uint8Array): Uint8Array<ArrayBuffer> | null {
  return ifSmaller(codec.compress(block, LEVEL), block);
}

function ifSmaller(
  packed: Uint8Array<ArrayBuffer> | null,
  block: Uint8Array,
): Uint8Array<ArrayBuffer> | null {
  if (packed === null || packed.length < block.length) return packed;
  release(packed.buffer);
  return null;
}

/** Where each section of a block ends: a section is its length and as many bytes (docs/block-format.md). */
function sectionEnds(block: Uint8Array, namesEnd: number): number[] {
  const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
  let at = namesEnd;
  // The number of the key's column, as a varint.
  while (view.getUint8(at++) >= 0x80);
  const ends: number[] = [];
  while (at < block.length) {
    at += 4 + view.getUint32(at, true);
    ends.push(at);
  }
  return ends;
}
