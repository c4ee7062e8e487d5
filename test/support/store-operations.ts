import type { CommitOperation, DeadLetter, StoredBlock } from "../../workers/messages.ts";
import { Random } from "./random.ts";
import { makeBlock, makeBlockOperation, makeDeadLetter, makeResult } from "./store-fixtures.ts";

/*
 * Operations that are a function of their name alone, so that whoever finds one in a store can tell whether it is
 * whole. A block's data is lines of text, one an event, `NAME.NUMBER`, some padded; merging is joining.
 */

const MAX_LINES = 20;
const MAX_PADDING = 30_000;
const STREAMS = ["machines", "doors", "pumps"];

export interface NamedBatch {
  readonly operation: CommitOperation & { readonly kind: "block" };
  readonly lines: number;
  readonly skewed: number;
  readonly deadLetters: number;
}

/** A batch of events under its name as the idempotency key: sending it again is a resend. */
export function makeBatch(name: string): NamedBatch {
  const random = new Random(hash(name));
  const lines = random.integer(1, MAX_LINES);
  const skewed = random.chance(0.2) ? random.integer(1, 3) : 0;
  const deadLetters = random.chance(0.2) ? random.integer(1, 3) : 0;
  const letters = Array.from(
    { length: deadLetters },
    (_, n): DeadLetter => ({ ...makeDeadLetter(n), text: name }),
  );
  const operation = makeBlockOperation({
    stream: random.pick(STREAMS),
    block: makeLines(name, lines, random.chance(0.3) ? random.integer(0, MAX_PADDING) : 0),
    idempotencyKey: name,
    accepted: lines,
    deadLetters: letters,
    skewed: skewed === 0 ? null : makeLines(name, skewed, 0),
  });
  return { operation, lines, skewed, deadLetters };
}

/** The late events of a block. Which stream and how many follow from its seq. */
export function makeLate(sourceSeq: number): CommitOperation & { readonly kind: "late" } {
  const random = new Random(sourceSeq);
  const block = makeLines(`late-${sourceSeq}`, random.integer(1, 5), 0);
  return { kind: "late", stream: random.pick(STREAMS), sourceSeq, block, atUs: sourceSeq };
}

export function makeResults(name: string): CommitOperation & { readonly kind: "results" } {
  const count = new Random(hash(name)).integer(1, 60);
  const rows = Array.from({ length: count }, (_, n) =>
    makeResult({ key: JSON.stringify({ name, n }), values: `{"n":${n}}` }),
  );
  return { kind: "results", rows };
}

export function makeCheckpoint(seq: number): CommitOperation & { readonly kind: "checkpoint" } {
  const size = new Random(seq).integer(0, 50_000);
  return { kind: "checkpoint", seq, state: new Uint8Array(size).fill(seq) };
}

export function mergeLines(blocks: readonly StoredBlock[]): StoredBlock {
  const count = blocks.reduce((sum, block) => sum + block.count, 0);
  return makeBlock({ data: new Uint8Array(Buffer.concat(blocks.map(({ data }) => data))), count });
}

/** Adds to `found` how many lines of each name the block holds. @throws when its count is not that of its lines */
export function countLines(block: StoredBlock, found: Map<string, number>): void {
  const lines = Buffer.from(block.data).toString().trimEnd().split("\n");
  if (lines.length !== block.count) throw new Error(`${block.count} events, ${lines.length} lines`);
  for (const line of lines) {
    const name = line.slice(0, line.indexOf("."));
    found.set(name, (found.get(name) ?? 0) + 1);
  }
}

function makeLines(name: string, count: number, padding: number): StoredBlock {
  const lines = Array.from({ length: count }, (_, n) => `${name}.${n}\n`);
  lines[0] = `${name}.0${" ".repeat(padding)}\n`;
  return makeBlock({ data: new Uint8Array(Buffer.from(lines.join(""))), count });
}

/** FNV-1a. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) value = Math.imul(value ^ text.charCodeAt(at), 0x01000193);
  return value >>> 0;
}
