import { Dictionary } from "../memory/dictionary";
import { ByteBuffer } from "../memory/bytes";
import { Op } from "./opcode";

/** One operation of a program. Operands are references, see `program.ts`. */
@unmanaged
export class Step {
  op: Op;
  /** The buffer that takes the result. */
  into: u32;
  a: u32;
  b: u32;
  c: u32;
  /** A `Kind`, or the number of a table, column or set, as the operation has it. */
  extra: u32;
  /** What is known of texts by their id, or 0: see `memoFor`. */
  firstMemo: usize;
  secondMemo: usize;
}

/** Counts the batches of this module: ids of texts mean something within one only. */
let batchNumber: u32 = 0;

export function beginBatch(): void {
  batchNumber++;
}

/**
 * What a step has found out of each text of a dictionary, by id, so that it looks at each text once a batch. 0 where
 * nothing is known yet.
 */
@unmanaged
class Memo {
  batch: u32;
  count: u32;
  words: ByteBuffer; // u32 by id
}

/** The step's memo for the texts of a dictionary, u32 by id. `slot`: 0 or 1, one for each operand. */
export function memoFor(step: Step, slot: u32, dictionary: Dictionary): usize {
  let memo = changetype<Memo>(slot == 0 ? step.firstMemo : step.secondMemo);
  if (changetype<usize>(memo) == 0) {
    memo = changetype<Memo>(heap.alloc(offsetof<Memo>()));
    memo.batch = 0;
    memo.count = 0;
    memo.words = ByteBuffer.create(256);
    if (slot == 0) step.firstMemo = changetype<usize>(memo);
    else step.secondMemo = changetype<usize>(memo);
  }
  if (memo.batch != batchNumber) {
    memo.batch = batchNumber;
    memo.count = 0;
    memo.words.reset();
  }
  const count = dictionary.count;
  if (count > memo.count) {
    const bytes = (count - memo.count) << 2;
    memory.fill(memo.words.reserve(bytes), 0, bytes);
    memo.words.length += bytes;
    memo.count = count;
  }
  return memo.words.data;
}

export function disposeMemos(step: Step): void {
  disposeMemo(step.firstMemo);
  disposeMemo(step.secondMemo);
}

function disposeMemo(memo: usize): void {
  if (memo == 0) return;
  changetype<Memo>(memo).words.dispose();
  heap.free(memo);
}
