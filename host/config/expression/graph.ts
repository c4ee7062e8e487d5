import type { Operation } from "../../../workers/core/expression-code.ts";
import type { Kind } from "./kinds.ts";
import type { Literal } from "./tree.ts";

/** A value of the program. Its arguments have smaller numbers, so the order of numbers is one to compute them in. */
export type Value =
  | { readonly id: number; readonly kind: Kind; readonly from: "literal"; readonly literal: Literal }
  | { readonly id: number; readonly kind: Kind; readonly from: "column"; readonly name: string }
  | {
      readonly id: number;
      readonly kind: Kind;
      readonly from: "step";
      readonly operation: Operation;
      readonly operands: readonly Value[];
      /** Of If and Coalesce: what its operands must be. */
      readonly operandKind: Kind;
      /** Of table operations: the table's number. Of In: that of its set. */
      readonly source: number;
      /** Of a table's cell: its number among the program's. */
      readonly cell: number;
    };

interface StepOptions {
  readonly operandKind?: Kind;
  readonly source?: number;
  readonly cell?: number;
}

/** Literals of one kind: texts, or numbers in ascending order. */
export type ValueSet =
  | { readonly kind: "string"; readonly values: readonly string[] }
  | { readonly kind: "number"; readonly values: readonly number[] };

/** The values that one query's expressions need, each once: what is written twice is computed once. */
export class Graph {
  readonly values: Value[] = [];
  readonly tables: string[] = [];
  /** What is read of tables, by number. */
  readonly cells: { readonly table: number; readonly column: string }[] = [];
  readonly sets: ValueSet[] = [];
  readonly #known = new Map<string, Value>();

  literal(literal: Literal): Value {
    const kind = kindOfLiteral(literal);
    const id = this.values.length;
    return this.#once(`literal ${typeof literal} ${literal}`, { id, kind, from: "literal", literal });
  }

  column(name: string, kind: Kind): Value {
    return this.#once(`column ${name}`, { id: this.values.length, kind, from: "column", name });
  }

  step(operation: Operation, operands: readonly Value[], kind: Kind, options: StepOptions = {}): Value {
    const { operandKind = "any", source = 0, cell = 0 } = options;
    const key = [operation, operandKind, source, cell, ...operands.map(({ id }) => id)].join(" ");
    const id = this.values.length;
    return this.#once(key, { id, kind, from: "step", operation, operands, operandKind, source, cell });
  }

  /** The number of a table among those that the program uses. */
  tableNumber(name: string): number {
    const known = this.tables.indexOf(name);
    return known >= 0 ? known : this.tables.push(name) - 1;
  }

  /** The number of a column among those that the program reads of tables. */
  cellNumber(table: number, column: string): number {
    const known = this.cells.findIndex((cell) => cell.table === table && cell.column === column);
    return known >= 0 ? known : this.cells.push({ table, column }) - 1;
  }

  /** The number of a set of literals. */
  setNumber(set: ValueSet): number {
    const known = this.sets.findIndex((other) => JSON.stringify(other) === JSON.stringify(set));
    return known >= 0 ? known : this.sets.push(set) - 1;
  }

  #once(key: string, value: Value): Value {
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    this.#known.set(key, value);
    this.values.push(value);
    return value;
  }
}

function kindOfLiteral(literal: Literal): Kind {
  if (literal === null) return "null";
  if (typeof literal === "boolean") return "bool";
  return typeof literal === "string" ? "string" : "number";
}
