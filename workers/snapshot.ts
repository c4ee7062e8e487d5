/**
 * The windows' state as one run of bytes: a JSON index, then the queries' own snapshots, zstd around both. In the head of a
 * checkpoint in pieces (version 4), the heads of the queries' captures stand in the place of their snapshots.
 */
import { MillraceError } from "./errors.ts";
import { release } from "./move.ts";
import { portableCodec } from "./zstd.ts";

export interface SnapshotPart {
  readonly stream: string;
  readonly watermarkUs: bigint;
  readonly maxEventUs: bigint;
  /** The sources' clocks, and the stream's key that they are of; null in checkpoints of version 1. */
  readonly clocks: { readonly key: readonly string[]; readonly state: Uint8Array } | null;
  readonly queries: readonly {
    readonly name: string;
    readonly signature: string;
    /** Windows that start before it give no results: the query came when the stream was there already. */
    readonly sinceUs?: number | null;
    readonly state: Uint8Array;
  }[];
  /** Rows that wait until they are final, in streams of results. */
  readonly waiting: Uint8Array | null;
}

/** 2 added the sources' clocks, 3 the rows that wait. */
const VERSION = 3;
const OLDEST_VERSION = 1;
/** Of checkpoints in pieces. */
const HEAD_VERSION = 4;
const SNAPSHOT_ZSTD_LEVEL = 1;
/** Version, then the lengths of index and whole body, u32 each. */
const HEADER_BYTES = 12;

interface IndexPart {
  stream: string;
  watermarkUs: string;
  maxEventUs: string;
  clocks?: { key: readonly string[]; bytes: number };
  queries: { name: string; signature: string; sinceUs?: number; bytes: number }[];
  waiting?: number;
}

const codec = await portableCodec();

export function packSnapshot(parts: readonly SnapshotPart[]): Uint8Array<ArrayBuffer> {
  return pack(parts, VERSION);
}

export function packHead(parts: readonly SnapshotPart[]): Uint8Array<ArrayBuffer> {
  return pack(parts, HEAD_VERSION);
}

function pack(parts: readonly SnapshotPart[], version: number): Uint8Array<ArrayBuffer> {
  const index: IndexPart[] = parts.map((part) => ({
    stream: part.stream,
    watermarkUs: String(part.watermarkUs),
    maxEventUs: String(part.maxEventUs),
    ...(part.clocks === null ? {} : { clocks: { key: part.clocks.key, bytes: part.clocks.state.length } }),
    queries: part.queries.map(({ name, signature, sinceUs, state }) => ({
      name,
      signature,
      ...(sinceUs == null ? {} : { sinceUs }),
      bytes: state.length,
    })),
    ...(part.waiting === null ? {} : { waiting: part.waiting.length }),
  }));
  const indexBytes = Buffer.from(JSON.stringify(index));
  const body = Buffer.concat([
    indexBytes,
    ...parts.flatMap(({ clocks, queries, waiting }) => [
      ...(clocks === null ? [] : [clocks.state]),
      ...queries.map((query) => query.state),
      ...(waiting === null ? [] : [waiting]),
    ]),
  ]);
  const packed = codec.compress(body, SNAPSHOT_ZSTD_LEVEL);
  const out = new Uint8Array(HEADER_BYTES + packed.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, version, true);
  view.setUint32(4, indexBytes.length, true);
  view.setUint32(8, body.length, true);
  out.set(packed, HEADER_BYTES);
  release(packed.buffer);
  return out;
}

/** @throws MillraceError E_CHECKPOINT_VERSION when a later release wrote it. */
export function unpackSnapshot(bytes: Uint8Array): SnapshotPart[] {
  return unpack(bytes, OLDEST_VERSION, VERSION);
}

/** @throws MillraceError E_CHECKPOINT_VERSION when a later release wrote it. */
export function unpackHead(bytes: Uint8Array): SnapshotPart[] {
  return unpack(bytes, HEAD_VERSION, HEAD_VERSION);
}

function unpack(bytes: Uint8Array, oldest: number, newest: number): SnapshotPart[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER_BYTES);
  const version = view.getUint32(0, true);
  if (version < oldest || version > newest) {
    throw new MillraceError(
      "E_CHECKPOINT_VERSION",
      `the checkpoint has version ${version}, this release reads ${oldest} to ${newest}; start the release that wrote it`,
    );
  }
  const indexLength = view.getUint32(4, true);
  const body = codec.decompress(bytes.subarray(HEADER_BYTES), view.getUint32(8, true));
  const index = JSON.parse(Buffer.from(body.subarray(0, indexLength)).toString()) as IndexPart[];
  let at = indexLength;
  const take = (length: number): Uint8Array => {
    at += length;
    return body.subarray(at - length, at);
  };
  return index.map((part) => ({
    stream: part.stream,
    watermarkUs: BigInt(part.watermarkUs),
    maxEventUs: BigInt(part.maxEventUs),
    clocks: part.clocks === undefined ? null : { key: part.clocks.key, state: take(part.clocks.bytes) },
    queries: part.queries.map(({ name, signature, sinceUs, bytes: length }) => ({
      name,
      signature,
      ...(sinceUs === undefined ? {} : { sinceUs }),
      state: take(length),
    })),
    waiting: part.waiting === undefined ? null : take(part.waiting),
  }));
}
