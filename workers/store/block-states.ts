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

/** Of a row of `blocks`: no sink is still to get it that was claimed by any; but for what an earlier release has claimed. */
export const IS_NOT_UNDER_WAY =
  "NOT EXISTS (SELECT 1 FROM block_states x WHERE x.seq = blocks.seq AND x.state = 'syncing')";

/**
 * Sinks have claimed a stream's blocks in the order of their seqs: what none has claimed comes behind this one. Without that bound a
 * look for it would go through all that was sent. Cost: a search for each sink.
 * @param stream the stream's number, in SQL; a cast, for a number that is bound is a real, of which the text is `1.0`
 */
export function lastClaimed(stream: string): string {
  return (
    "coalesce((SELECT max(p.after_id) FROM sync_sinks k CROSS JOIN sync_positions p" +
    ` ON p.sink = k.id AND p.flow = 'stream ' || CAST(${stream} AS INTEGER)), 0)`
  );
}

/** Of a row of `blocks`: it was claimed, and its state is lost with a damaged page. */
export const HAS_LOST_STATE = `state = 'pending' AND seq <= ${lastClaimed("blocks.stream_id")} AND ${IS_UNCLAIMED}`;

/** Its state is made anew: every sink has what is in no batch and what all have come past. */
export const RESTORE_STATES =
  "INSERT INTO block_states (seq, state) SELECT seq, CASE WHEN seq <= (SELECT min(coalesce(p.after_id, 0)) FROM sync_sinks s" +
  " LEFT JOIN sync_positions p ON p.sink = s.id AND p.flow = 'stream ' || blocks.stream_id)" +
  " AND seq NOT IN (SELECT i.id FROM sync_items i JOIN sync_batches b ON b.id = i.batch AND b.class = 'events')" +
  ` THEN 'synced' ELSE 'syncing' END FROM blocks WHERE ${HAS_LOST_STATE}`;
