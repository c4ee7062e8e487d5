import { type CoreModule, copyIn, type Pointer } from "./module.ts";

/** The steps of `assembly/query/event-writer.ts`. */
const OP = { time: 0, value: 1, open: 2, close: 3 } as const;
const STEP_BYTES = 16;
const HEAD_BYTES = 20;

interface Member {
  /** A column's index, −1 for the event time, null where the member has no value of its own. */
  leaf: number | null;
  readonly children: Map<string, Member>;
}

/** The columns of a batch, by name; `null` ones have no value in any row. */
export interface ProgramColumns {
  readonly names: readonly string[];
  readonly isNull: readonly boolean[];
}

const utf8 = new TextEncoder();

/**
 * The program that writes rows of these columns as `createEventWriter` does, in the core's memory; `release` frees it.
 * It has no steps where a column `a` stands beside a column `a.b`, or members lie too deep: such rows are woven here.
 */
export function createProgram(
  core: CoreModule,
  columns: ProgramColumns,
  timeField: string,
): { readonly at: Pointer; release(): void } {
  const { allocate, release, maxDepth } = core.exports as unknown as {
    allocate(length: number): number;
    release(at: number): void;
    maxDepth(): number;
  };
  const root = membersOf(columns, timeField);
  const steps: { op: number; column: number; label: Uint8Array }[] = [];
  const isPlain = visit(root, 0, maxDepth());
  const roots = [...root.children.keys()].map((name) => utf8.encode(name));
  const labelBytes = steps.reduce((sum, { label }) => sum + label.length, 0);
  const rootBytes = roots.reduce((sum, name) => sum + 4 + name.length, 0);
  const size = HEAD_BYTES + steps.length * STEP_BYTES + labelBytes + rootBytes;
  const at = allocate(size + 16) >>> 0;
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  let next = HEAD_BYTES + steps.length * STEP_BYTES;
  for (const [index, { op, column, label }] of steps.entries()) {
    const step = HEAD_BYTES + index * STEP_BYTES;
    setWords(view, step, [op, column, at + next, label.length]);
    bytes.set(label, next);
    next += label.length;
  }
  const rootsAt = at + next;
  for (const name of roots) {
    view.setUint32(next, name.length, true);
    bytes.set(name, next + 4);
    next += 4 + name.length;
  }
  setWords(view, 0, [at + HEAD_BYTES, isPlain ? steps.length : 0, labelBytes, rootsAt, roots.length]);
  copyIn(core, at, bytes);
  return { at, release: () => release(at) };

  function visit(parent: Member, depth: number, most: number): boolean {
    if (depth >= most) return false;
    for (const [name, { leaf, children }] of parent.children) {
      if (leaf !== null && children.size > 0) return false;
      const label = utf8.encode(`${JSON.stringify(name)}:`);
      if (leaf !== null) {
        steps.push({ op: leaf < 0 ? OP.time : OP.value, column: Math.max(leaf, 0), label });
        continue;
      }
      steps.push({ op: OP.open, column: 0, label });
      const inner = children.size > 0 && visit({ leaf: null, children }, depth + 1, most);
      if (!inner) return false;
      steps.push({ op: OP.close, column: 0, label: new Uint8Array(0) });
    }
    return true;
  }
}

function setWords(view: DataView, at: number, words: readonly number[]): void {
  for (const [index, word] of words.entries()) view.setUint32(at + index * 4, word, true);
}

function membersOf({ names, isNull }: ProgramColumns, timeField: string): Member {
  const root: Member = { leaf: null, children: new Map() };
  addLeaf(root, timeField, -1);
  for (const [index, name] of names.entries()) {
    if (name !== timeField && isNull[index] !== true) addLeaf(root, name, index);
  }
  return root;
}

function addLeaf(root: Member, path: string, leaf: number): void {
  let node = root;
  for (const name of path.split(".")) {
    let child = node.children.get(name);
    if (child === undefined) {
      child = { leaf: null, children: new Map() };
      node.children.set(name, child);
    }
    node = child;
  }
  node.leaf ??= leaf;
}
