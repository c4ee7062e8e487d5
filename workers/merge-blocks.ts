import type { StoredBlock } from "./messages.ts";
import { moveWith, releaseBytes } from "./move.ts";
import { expected } from "./query/answer.ts";
import { BlockDecoder } from "./query/block-decoder.ts";
import type { MergeTask, QueryFailure } from "./query/tasks.ts";
import { portableCodec } from "./zstd.ts";

/** With a core of its own: what a damaged block does to it harms no other. */
const decoder = new BlockDecoder(await portableCodec());

/** One block with the events of several, in their order. Gives the memory of theirs back. */
export function mergeBlocks({ blocks, stream, keyFields }: MergeTask): StoredBlock | QueryFailure {
  const merged = expected(() => decoder.merge(blocks, stream, keyFields));
  for (const { data } of blocks) releaseBytes(data);
  return "failure" in merged ? merged : moveWith(merged, [merged.data.buffer]);
}
