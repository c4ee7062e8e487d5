import type { CommitOperation, ResultRow } from "../messages.ts";

/** A row's columns and its place in the tree and its indexes. */
const ROW_BYTES = 200;

/** About what an operation takes in the database. Cost: its rows, not their bytes. */
export function operationBytes(operation: CommitOperation): number {
  switch (operation.kind) {
    case "block": {
      const { block, skewed, deadLetters } = operation;
      const letters = deadLetters.reduce((sum, { text, message }) => sum + text.length + message.length, 0);
      const rows = 3 + deadLetters.length;
      return (block?.data.length ?? 0) + (skewed?.data.length ?? 0) + letters + rows * ROW_BYTES;
    }
    case "results":
    case "correction":
      return operation.rows.reduce((sum, row) => sum + resultBytes(row), 0);
    case "packed-results":
      // Each row's texts, and some 40 characters around them where a stored row has its columns.
      return 2 * operation.text.length;
    case "late":
      return operation.block.data.length + ROW_BYTES;
    case "alerts":
      return operation.rows.reduce(
        (sum, { key, value }) => sum + key.length + value.length + 2 * ROW_BYTES,
        0,
      );
    case "checkpoint":
      return operation.state.length + ROW_BYTES;
    case "checkpoint-piece":
      return operation.bytes.length + ROW_BYTES;
    case "config":
      return operation.body.length + ROW_BYTES;
    default:
      return ROW_BYTES;
  }
}

function resultBytes({ key, values }: ResultRow): number {
  return key.length + values.length + ROW_BYTES;
}
