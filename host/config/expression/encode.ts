import {
  CONSTANT_TYPES,
  NO_OPERAND,
  OPERAND_KINDS,
  OPERATIONS,
  PLACE_SHIFT,
  PLACES,
  PROGRAM_VERSION,
} from "../../../workers/core/expression-code.ts";
import type { ExpressionProgram } from "../../../workers/messages.ts";
import type { Graph, Value, ValueSet } from "./graph.ts";
import type { Kind } from "./kinds.ts";
import type { Literal } from "./tree.ts";

type Step = Value & { from: "step" };

export interface Outputs {
  readonly derived: readonly { readonly name: string; readonly value: Value }[];
  readonly condition: Value | null;
}

const utf8 = new TextEncoder();

/** Lays a graph out as a program, see `assembly/expression/program.ts`. Values that no output needs are left out. */
export function encodeProgram(graph: Graph, { derived, condition }: Outputs): ExpressionProgram {
  const roots = [...derived.map(({ value }) => value), ...(condition === null ? [] : [condition])];
  const values = neededValues(roots);
  const columns = values.filter((value) => value.from === "column");
  const literals = values.filter((value) => value.from === "literal");
  const steps = values.filter((value) => value.from === "step");
  const { buffers, count } = assignBuffers(steps, roots);
  const reference = (value: Value): number => {
    if (value.from === "literal") return place(PLACES.constant, literals.indexOf(value));
    if (value.from === "column") return place(PLACES.column, columns.indexOf(value));
    return place(PLACES.buffer, buffers.get(value.id) ?? 0);
  };
  const writer = new Writer();
  writer.u32(PROGRAM_VERSION);
  writer.u32(columns.length);
  for (const { name } of columns) writer.text(name);
  writer.u32(literals.length);
  for (const { literal } of literals) writer.literal(literal);
  writer.u32(graph.sets.length);
  for (const set of graph.sets) writer.set(set);
  writer.u32(graph.tables.length);
  writer.u32(count);
  writer.u32(steps.length);
  for (const step of steps) writeStep(writer, step, buffers.get(step.id) ?? 0, reference);
  writer.u32(derived.length);
  for (const { name, value } of derived) {
    writer.text(name);
    writer.u32(reference(value));
  }
  writer.u32(condition === null ? NO_OPERAND : reference(condition));
  return {
    code: writer.bytes().toString("base64"),
    inputs: columns.map(({ name }) => name),
    tables: graph.tables,
    ...(graph.cells.length === 0 ? {} : { cells: graph.cells }),
  };
}

function writeStep(writer: Writer, step: Step, into: number, reference: (value: Value) => number): void {
  const { operation, operands, operandKind, source, cell } = step;
  const [a = NO_OPERAND, b = NO_OPERAND, c = NO_OPERAND] = operands.map(reference);
  const hasSource = operation === "tableRow" || operation === "tableCell" || operation === "in";
  writer.u32(OPERATIONS[operation]);
  writer.u32(into);
  writer.u32(a);
  writer.u32(b);
  writer.u32(operation === "tableCell" ? cell : c);
  writer.u32(hasSource ? source : operandNumber(operandKind));
}

function operandNumber(kind: Kind): number {
  return OPERAND_KINDS[kind === "null" ? "any" : kind];
}

/** What the roots are made of, operands before what they are operands of. */
function neededValues(roots: readonly Value[]): Value[] {
  const needed = new Map<number, Value>();
  const waiting = [...roots];
  for (let value = waiting.pop(); value !== undefined; value = waiting.pop()) {
    if (needed.has(value.id)) continue;
    needed.set(value.id, value);
    if (value.from === "step") waiting.push(...value.operands);
  }
  return [...needed.values()].toSorted((a, b) => a.id - b.id);
}

/**
 * Gives every step a buffer that no value has which is still needed: a linear scan (Poletto, Sarkar, "Linear Scan Register
 * Allocation", 1999). A step never writes into a buffer that it reads. Outputs keep theirs.
 */
function assignBuffers(
  steps: readonly Step[],
  roots: readonly Value[],
): { buffers: ReadonlyMap<number, number>; count: number } {
  const lastUse = new Map<number, number>();
  for (const step of steps) for (const operand of step.operands) lastUse.set(operand.id, step.id);
  for (const root of roots) lastUse.set(root.id, Number.POSITIVE_INFINITY);
  const buffers = new Map<number, number>();
  const free: number[] = [];
  let count = 0;
  for (const step of steps) {
    buffers.set(step.id, free.pop() ?? count++);
    for (const { id } of new Set(step.operands)) {
      const buffer = buffers.get(id);
      if (buffer !== undefined && lastUse.get(id) === step.id) free.push(buffer);
    }
  }
  return { buffers, count };
}

function place(kind: number, index: number): number {
  return ((kind << PLACE_SHIFT) | index) >>> 0;
}

/** Little-endian numbers one after another. */
class Writer {
  readonly #parts: Uint8Array[] = [];

  u32(value: number): void {
    this.#parts.push(new Uint8Array(Uint32Array.of(value).buffer));
  }

  text(text: string): void {
    const bytes = utf8.encode(text);
    this.u32(bytes.length);
    this.#parts.push(bytes);
  }

  literal(literal: Literal): void {
    if (typeof literal === "string") {
      this.u32(CONSTANT_TYPES.string);
      this.text(literal);
      return;
    }
    if (typeof literal === "number") {
      this.u32(CONSTANT_TYPES.float);
      this.#parts.push(new Uint8Array(Float64Array.of(literal).buffer));
      return;
    }
    this.u32(
      literal === null
        ? CONSTANT_TYPES.null
        : typeof literal === "bigint"
          ? CONSTANT_TYPES.int
          : CONSTANT_TYPES.bool,
    );
    this.#parts.push(new Uint8Array(BigInt64Array.of(BigInt(literal ?? 0n)).buffer));
  }

  set({ kind, values }: ValueSet): void {
    this.u32(kind === "string" ? CONSTANT_TYPES.string : CONSTANT_TYPES.float);
    this.u32(values.length);
    for (const value of values) {
      if (typeof value === "string") this.text(value);
      else this.#parts.push(new Uint8Array(Float64Array.of(value).buffer));
    }
  }

  bytes(): Buffer {
    return Buffer.concat(this.#parts);
  }
}
