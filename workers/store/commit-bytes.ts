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
      return operation.packed.bytes.length + ROW_BYTES * operation.packed.count;
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

/** Of a row: its place in a tree, and the pages beside it when that place has no room. */
const PAGES_OF_A_PLACE = 5;
/** Trees with a place for each block: itself, by time, by state, for sinks, its keys, its idempotency key twice. */
const BLOCK_PLACES = 7;
/** Old idempotency keys that go with a new one. */
const KEYS_DROPPED = 2;
const KEY_PLACES = 2;
const OTHER_PLACES = 4;

/** Pages that an operation touches beside those of its data, were each of its rows far from the others. */
export function operationPages(operation: CommitOperation): number {
  return PAGES_OF_A_PLACE * placesOf(operation);
}

function placesOf(operation: CommitOperation): number {
  switch (operation.kind) {
    case "block":
      return BLOCK_PLACES + KEYS_DROPPED * KEY_PLACES + OTHER_PLACES + operation.deadLetters.length;
    case "results":
    case "correction":
    case "alerts":
      return operation.rows.length + OTHER_PLACES;
    case "packed-results":
      return operation.packed.count + OTHER_PLACES;
    case "clear-results":
    case "checkpoint-sweep":
      return operation.limit + OTHER_PLACES;
    default:
      return OTHER_PLACES;
  }
}

/** About what a row of results takes in the database. */
export function resultBytes({ key, values }: ResultRow): number {
  return key.length + values.length + ROW_BYTES;
}

/** The same of its line in a packed text. */
export function lineBytes(line: string): number {
  return line.length + ROW_BYTES;
}
