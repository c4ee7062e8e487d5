import type { StoredBlock } from "../../workers/messages.ts";
import type { BlockDecoder } from "../../workers/query/block-decoder.ts";
import type { Downsampling } from "../../workers/query/tasks.ts";

/** One block of aggregates of the events of several. */
export function downsample(
  decoder: BlockDecoder,
  blocks: readonly StoredBlock[],
  task: Downsampling,
): StoredBlock {
  decoder.beginDownsampling(task);
  decoder.addToDownsampling(blocks);
  decoder.writeDownsampling();
  return decoder.endDownsampling();
}
