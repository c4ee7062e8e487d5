/**
 * SQL for what a block's state is: that of its row in `block_states`, or where it has none, that of its own row. Only sync
 * writes there, so that neither a claim nor a settled batch touches the pages of blocks.
 */

/** Of a row of `blocks`. */
export const BLOCK_STATE =
  "coalesce((SELECT x.state FROM block_states x WHERE x.seq = blocks.seq), blocks.state)";

/** Of a row of `blocks` whose own state is `pending`: whether it is so indeed. */
export const IS_UNCLAIMED = "NOT EXISTS (SELECT 1 FROM block_states x WHERE x.seq = blocks.seq)";

/** Of a row of `blocks` whose own state is not `synced`. */
export const IS_NOT_SYNCED =
  "NOT EXISTS (SELECT 1 FROM block_states x WHERE x.seq = blocks.seq AND x.state = 'synced')";
