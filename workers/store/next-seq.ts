/**
 * The next seq of the log, as an expression. Blocks leave theirs in their stream's row, which their commit writes anyway; what else
 * has a seq leaves it in `counters`. Neither ever falls.
 */
export const NEXT_SEQ =
  "max((SELECT coalesce(max(next_seq), 1) FROM counters), (SELECT coalesce(max(last_seq), 0) + 1 FROM streams))";
