import { type Frame, FrameReader } from "../../workers/checkpoint-frames.ts";
import { MillraceError } from "../../workers/errors.ts";
import type { Checkpoint } from "../../workers/store/checkpoint-store.ts";
import type { StorageClient } from "../store/storage-client.ts";
import type { WindowWorker } from "./window-worker.ts";

/** Bytes of pieces that are on their way at once. */
const READ_BYTES = 1024 * 1024;

/** Loads a checkpoint into the windows. @returns the queries whose definition changed since: their windows start empty. */
export async function restoreCheckpoint(
  storage: StorageClient,
  windows: WindowWorker,
  { seq, state, segments }: Checkpoint,
): Promise<readonly string[]> {
  if (segments === null) return windows.restore({ seq, state: state ?? new Uint8Array(0) });
  const numbers = Array.from({ length: segments.last - segments.first + 1 }, (_, n) => segments.first + n);
  const heads: Uint8Array[] = [];
  for (const segment of numbers) heads.push(await readHead(storage, segment));
  const changed = await windows.beginRestore(heads);
  for (const [index, segment] of numbers.entries()) {
    for await (const frames of piecesOf(storage, segment, READ_BYTES)) await windows.adopt(index, frames);
  }
  await windows.endRestore(seq);
  return changed;
}

async function readHead(storage: StorageClient, segment: number): Promise<Uint8Array> {
  const reader = new FrameReader();
  for await (const frames of piecesOf(storage, segment, 1)) {
    const framed = frames.map((frame) => reader.push(frame)).find((one) => one !== null);
    if (framed?.kind === "head") return framed.bytes;
    if (framed !== undefined) break;
  }
  throw new MillraceError("E_CHECKPOINT_DAMAGED", "the checkpoint has no head; start with the one before it");
}

/** The next pieces are read while those before are taken in. */
async function* piecesOf(
  storage: StorageClient,
  segment: number,
  maxBytes: number,
): AsyncGenerator<readonly Frame[]> {
  let number = 0;
  let next = storage.readPieces({ segment, number, maxBytes });
  for (;;) {
    const frames = await next;
    if (frames.length === 0) return;
    number += frames.length;
    next = storage.readPieces({ segment, number, maxBytes });
    // Whoever stops early does not hear of it.
    next.catch(() => undefined);
    yield frames;
  }
}
