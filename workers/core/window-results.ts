import type { AggregateName, Output, QueryPlan } from "../messages.ts";
import { boxJson } from "./box.ts";
import { type CoreModule, copyIn, type Pointer } from "./module.ts";
import type { PortionRows } from "./portion.ts";

/** Kinds by the numbers of `assembly/window/trigger.ts`. */
const KINDS = ["on-time", "late", "early"] as const;
/** Bytes before the rows: start f64, end f64, kind u32, rows u32. */
const HEAD_BYTES = 24;
/** Bytes of a row before its values: key u32, revision u32. */
const ROW_HEAD_BYTES = 8;

/** Aggregates whose values may be no numbers. */
const BOXED: readonly AggregateName[] = [
  "min",
  "max",
  "first",
  "last",
  "topk",
  "histogram",
  "any",
  "all",
  "mode",
];

/** Writes the numbers of one row, which begin at `values[at]`, as the JSON text of an object. */
export type WriteValues = (values: Float64Array, at: number) => string;

interface TextExports {
  allocate(length: number): Pointer;
  release(pointer: Pointer): void;
  valuesTextRoom(values: number, labelBytes: number): void;
  valuesTextAt(): Pointer;
  valuesText(values: number, labels: Pointer, count: number): number;
}

/** Writes the values of results that select the same; holds memory of the core until it is disposed of. */
export interface SelectionWriter {
  readonly write: WriteValues;
  dispose(): void;
}

/** The core may read so many bytes beyond a label. */
const LABEL_PADDING = 16;
const utf8 = new TextEncoder();

/**
 * For selected outputs: all of them, in their order. `boxes`: where values stand that are no numbers. The core writes what is all
 * numbers (`assembly/window/values-text.ts`), JS the rest.
 */
export function selectionWriter(
  core: CoreModule,
  outputs: readonly Output[],
  boxes: () => number,
): SelectionWriter {
  const labels = outputs.map(({ name }, index) => `${index === 0 ? "{" : ","}${JSON.stringify(name)}:`);
  const oddText = (values: Float64Array, at: number, { fn, bounds = [] }: Output): string => {
    if (!BOXED.includes(fn)) return "null";
    // As 32-bit halves: JS may change the bits of a NaN that it handles as a number.
    const [lower, upper] = new Uint32Array(values.buffer, values.byteOffset + at * 8, 2);
    return boxJson(values.buffer as ArrayBuffer, boxes(), upper!, lower!, bounds);
  };
  const writeHere: WriteValues = (values, at) => {
    let text = "";
    for (let i = 0; i < labels.length; i++) {
      const value = values[at + i]!;
      // False of NaN and the infinities.
      text += labels[i]! + (value - value === 0 ? `${value}` : oddText(values, at + i, outputs[i]!));
    }
    return text === "" ? "{}" : `${text}}`;
  };
  // Texts of the core are read as Latin-1.
  const isAscii = labels.every((label) => Buffer.byteLength(label) === label.length);
  if (labels.length === 0 || !isAscii) return { write: writeHere, dispose: () => undefined };
  return writerInCore(core, labels, writeHere);
}

function writerInCore(core: CoreModule, labels: readonly string[], writeHere: WriteValues): SelectionWriter {
  const { allocate, release, valuesText, valuesTextAt, valuesTextRoom } =
    core.exports as unknown as TextExports;
  const encoded = Buffer.concat(labels.map((label) => withLength(utf8.encode(label))));
  const labelsAt = allocate(encoded.length + LABEL_PADDING) >>> 0;
  copyIn(core, labelsAt, encoded);
  valuesTextRoom(labels.length, encoded.length);
  let memory: Buffer = Buffer.from(core.memory.buffer);
  return {
    write: (values, at) => {
      const length = valuesText(values.byteOffset + at * 8, labelsAt, labels.length);
      if (length === 0) return writeHere(values, at);
      if (memory.buffer !== values.buffer) memory = Buffer.from(values.buffer);
      const textAt = valuesTextAt() >>> 0;
      return memory.toString("latin1", textAt, textAt + length);
    },
    dispose: () => release(labelsAt),
  };
}

function withLength(bytes: Uint8Array): Buffer {
  const text = Buffer.alloc(4 + bytes.length);
  text.writeUInt32LE(bytes.length);
  text.set(bytes, 4);
  return text;
}

/**
 * For "*": count, then avg, min and max of each field that has a value. Fields in the order of `order`, which holds their
 * numbers sorted by name, so that the text does not depend on the order in which fields turned up.
 */
export function wildcardWriter(names: readonly string[], order: readonly number[]): WriteValues {
  const labels = names.map((name) =>
    [`${name}_avg`, `${name}_min`, `${name}_max`].map((label) => `,${JSON.stringify(label)}:`),
  );
  return (values, at) => {
    let text = `{"count":${values[at]}`;
    for (const field of order) {
      const first = at + 1 + field * 3;
      if (Number.isNaN(values[first])) continue;
      const [avg, min, max] = labels[field]!;
      text +=
        avg! +
        numberText(values[first]!) +
        min! +
        numberText(values[first + 1]!) +
        max! +
        numberText(values[first + 2]!);
    }
    return `${text}}`;
  };
}

function numberText(value: number): string {
  // Also true of NaN and the infinities.
  return value - value === 0 ? `${value}` : "null";
}

/**
 * The keys of the rows of a window that stands at `at`, a multiple of 8, in the order of these rows.
 */
export function keysOfRows(memory: ArrayBuffer, at: number, valueCount: number): Uint32Array {
  const count = new Uint32Array(memory, at + 16, 2)[1]!;
  const rowWords = ((ROW_HEAD_BYTES >> 3) + valueCount) * 2;
  const heads = new Uint32Array(memory, at + HEAD_BYTES, count * rowWords);
  const keys = new Uint32Array(count);
  for (let row = 0; row < count; row++) keys[row] = heads[row * rowWords]!;
  return keys;
}

/**
 * Adds the rows of one window to `rows` in the order that is given, from the place `first` in it on until the portion is full. `at`:
 * where they stand in memory, a multiple of 8. @returns the place to go on with, or null when that was the last.
 */
export function readWindow(
  plan: QueryPlan,
  memory: ArrayBuffer,
  at: number,
  order: Uint32Array,
  first: number,
  valueCount: number,
  keyText: (key: number) => string,
  writeValues: WriteValues,
  rows: PortionRows,
): number | null {
  const [startUs, endUs] = new Float64Array(memory, at, 2) as unknown as [number, number];
  const [kindNumber, count] = new Uint32Array(memory, at + 16, 2) as unknown as [number, number];
  const query = plan.name;
  const kind = KINDS[kindNumber] ?? "late";
  const rowWords = (ROW_HEAD_BYTES >> 3) + valueCount;
  const heads = new Uint32Array(memory, at + HEAD_BYTES, count * rowWords * 2);
  const values = new Float64Array(memory, at + HEAD_BYTES, count * rowWords);
  for (let place = first; place < count; place++) {
    if (rows.isFull) return place;
    const word = order[place]! * rowWords;
    rows.push({
      query,
      startUs,
      endUs,
      key: keyText(heads[word * 2]!),
      values: writeValues(values, word + 1),
      revision: heads[word * 2 + 1]!,
      kind,
    });
  }
  return null;
}
