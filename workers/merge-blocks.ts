import type { StoredBlock } from "./messages.ts";
import { moveWith, releaseBytes } from "./move.ts";
import { expected } from "./query/answer.ts";
import { BlockDecoder } from "./query/block-decoder.ts";
import type { Downsampling, MergeTask, QueryFailure, TakenBlocks } from "./query/tasks.ts";
import { portableCodec } from "./zstd.ts";

/** With a core of its own: what a damaged block does to it harms no other. */
const decoder = new BlockDecoder(await portableCodec());

/** One block with the events of several, in their order. Gives the memory of theirs back. */
export function mergeBlocks({ blocks, stream, keyFields }: MergeTask): StoredBlock | QueryFailure {
  const merged = expected(() => decoder.merge(blocks, stream, keyFields));
  for (const { data } of blocks) releaseBytes(data);
  return "failure" in merged ? merged : moveWith(merged, [merged.data.buffer]);
}

/** Begins a block of aggregates; blocks are then added, a few at a time. */
export function beginDownsampling(task: Downsampling): null | QueryFailure {
  return expected(() => {
    decoder.beginDownsampling(task);
    return null;
  });
}

/** Gives the memory of their data back. */
export function addToDownsampling(blocks: readonly StoredBlock[]): TakenBlocks | QueryFailure {
  const added = expected(() => decoder.addToDownsampling(blocks));
  for (const { data } of blocks) releaseBytes(data);
  return added;
}

/** All blocks are added: what is left takes two steps, for of very many keys each takes a while. */
export function writeDownsampling(): null | QueryFailure {
  return expected(() => {
    decoder.writeDownsampling();
    return null;
  });
}

export function endDownsampling(): StoredBlock | QueryFailure {
  const made = expected(() => decoder.endDownsampling());
  return "failure" in made ? made : moveWith(made, [made.data.buffer]);
}
