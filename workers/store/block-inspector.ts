import { readHeader } from "../core/codec.ts";
import type { StoredBlock } from "../messages.ts";
import { BlockDecoder } from "../query/block-decoder.ts";
import { type Codec, portableCodec } from "../zstd.ts";

/** Why a stored block cannot be served. */
export interface BlockFault {
  readonly code: string;
  readonly message: string;
}

/** Event times are kept as numbers: beyond 2^53 µs (the year 2255) they may be rounded by this. */
const ROUNDING_US = 32n;

/**
 * Tells sound blocks from damaged ones: decompresses, verifies the CRC-32C, decodes every column, and compares stream,
 * count and times with those of the row. Cost: one decoding a block. Harmless whatever the bytes are.
 */
export class BlockInspector {
  readonly #codec: Codec;
  readonly #decoder: BlockDecoder;

  private constructor(codec: Codec) {
    this.#codec = codec;
    this.#decoder = new BlockDecoder(codec);
  }

  static async create(): Promise<BlockInspector> {
    return new BlockInspector(await portableCodec());
  }

  /** null: the block is sound. `stream` is the one that its row names. */
  inspect(block: StoredBlock, stream: string): BlockFault | null {
    const opened = this.#decoder.open(block);
    if (opened.kind === "unreadable") return { code: opened.code, message: opened.message };
    const { times } = opened.rows;
    if (times.length !== block.count)
      return mismatch(`it holds ${times.length} events, its row says ${block.count}`);
    const header = readHeader(this.encoded(block));
    if (header.stream !== stream) return mismatch(`it is of stream ${header.stream}, its row says ${stream}`);
    const { minUs, maxUs } = rangeOf(times);
    if (!isSame(minUs, block.minUs) || !isSame(maxUs, block.maxUs))
      return mismatch(`its events lie in ${minUs}…${maxUs} µs, its row says ${block.minUs}…${block.maxUs}`);
    return null;
  }

  /** A block as it was encoded, without its compression. @throws MillraceError when it is damaged */
  encoded({ codec, data, encodedBytes }: Pick<StoredBlock, "codec" | "data" | "encodedBytes">): Uint8Array {
    return codec === "zstd" ? this.#codec.decompress(data, encodedBytes) : data;
  }
}

function mismatch(message: string): BlockFault {
  return { code: "E_BLOCK_ROW", message: `the block is sound but its row contradicts it: ${message}` };
}

function rangeOf(times: BigInt64Array): { minUs: bigint; maxUs: bigint } {
  let minUs = times[0] ?? 0n;
  let maxUs = minUs;
  for (const time of times) {
    if (time < minUs) minUs = time;
    else if (time > maxUs) maxUs = time;
  }
  return { minUs, maxUs };
}

function isSame(exact: bigint, stored: number): boolean {
  const difference = exact - BigInt(Math.round(stored));
  return Number.isSafeInteger(stored)
    ? difference === 0n
    : difference <= ROUNDING_US && difference >= -ROUNDING_US;
}
