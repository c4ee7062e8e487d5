import type { Operation } from "../../../workers/core/expression-code.ts";
import { nearest } from "../suggest.ts";
import { FUNCTIONS, type Signature } from "./functions.ts";
import type { Graph, Value, ValueSet } from "./graph.ts";
import { parseInstantUs } from "./instant.ts";
import { commonKind, describeKind, fits, type Kind } from "./kinds.ts";
import { refuse } from "./problem.ts";
import type { Scope } from "./scope.ts";
import type { ArithmeticOperator, ComparisonOperator, Tree } from "./tree.ts";

const ARITHMETIC: Readonly<Record<ArithmeticOperator, Operation>> = {
  "+": "add",
  "-": "subtract",
  "*": "multiply",
  "/": "divide",
  "%": "remainder",
};
const COMPARISON: Readonly<Record<ComparisonOperator, Operation>> = {
  "==": "equal",
  "!=": "notEqual",
  "<": "less",
  "<=": "lessOrEqual",
  ">": "greater",
  ">=": "greaterOrEqual",
};

/** Checks kinds and turns trees into the values of a graph. Refuses with the place of what is wrong. */
export class Lowering {
  readonly #graph: Graph;
  readonly #scope: Scope;

  constructor(graph: Graph, scope: Scope) {
    this.#graph = graph;
    this.#scope = scope;
  }

  /** An expression that must be true or false. */
  condition(tree: Tree): Value {
    const value = this.value(tree);
    if (!fits(value.kind, "bool"))
      refuse(
        tree.at,
        `this is ${describeKind(value.kind)}, not true or false`,
        "compare it, as in temp > 90",
      );
    return value;
  }

  value(tree: Tree): Value {
    switch (tree.type) {
      case "literal":
        return this.#graph.literal(tree.value);
      case "name":
        return this.#name(tree.name, tree.at);
      case "negate":
        return this.#step(
          "subtract",
          [this.#graph.literal(0n), this.#need(tree.operand, "number", "-")],
          "number",
        );
      case "not":
        return this.#step("not", [this.#need(tree.operand, "bool", "not")], "bool");
      case "arithmetic":
        return this.#arithmetic(tree);
      case "comparison":
        return this.#comparison(tree);
      case "logic": {
        const left = this.#need(tree.left, "bool", tree.operator);
        return this.#step(tree.operator, [left, this.#need(tree.right, "bool", tree.operator)], "bool");
      }
      case "like": {
        const operand = this.#need(tree.operand, "string", "like");
        return this.#step("like", [operand, this.#need(tree.pattern, "string", "like")], "bool");
      }
      case "in":
        return this.#membership(tree.operand, tree.items);
      case "between": {
        const operand = this.value(tree.operand);
        const low = this.#compare("greaterOrEqual", operand, this.value(tree.low), tree.at);
        const high = this.#compare("lessOrEqual", operand, this.value(tree.high), tree.at);
        return this.#step("and", [low, high], "bool");
      }
      case "is-null":
        return this.#step("isNull", [this.value(tree.operand)], "bool");
      case "call":
        return this.#call(tree.name, tree.arguments, tree.at);
    }
  }

  #step(operation: Operation, operands: readonly Value[], kind: Kind): Value {
    return this.#graph.step(operation, operands, kind);
  }

  #name(name: string, at: number): Value {
    const found = this.#scope.resolve(name, this.#graph);
    return found.ok ? found.value : refuse(at, found.message, found.fix);
  }

  #need(tree: Tree, wanted: Kind, operator: string): Value {
    return this.#check(this.value(tree), tree, wanted, operator);
  }

  #check(value: Value, tree: Tree, wanted: Kind, operator: string): Value {
    if (fits(value.kind, wanted)) return value;
    const message = `${operator} needs ${describeKind(wanted)}, and this is ${describeKind(value.kind)}`;
    return refuse(tree.at, message, explainWanted(wanted, value.kind));
  }

  #arithmetic({ operator, left, right, at }: Tree & { type: "arithmetic" }): Value {
    const x = this.value(left);
    const y = this.value(right);
    if (operator === "+" && (x.kind === "string" || y.kind === "string"))
      refuse(at, "+ adds numbers, and this is a text", "join texts with concat(a, b)");
    const operands = [this.#check(x, left, "number", operator), this.#check(y, right, "number", operator)];
    return this.#step(ARITHMETIC[operator], operands, "number");
  }

  #comparison({ operator, left, right, at }: Tree & { type: "comparison" }): Value {
    const nullSide = isNullLiteral(right) ? left : isNullLiteral(left) ? right : null;
    if (nullSide === null)
      return this.#compare(COMPARISON[operator], this.value(left), this.value(right), at);
    if (operator !== "==" && operator !== "!=")
      refuse(at, `nothing is ${operator} null`, "write x is null or x is not null");
    const isNull = this.#step("isNull", [this.value(nullSide)], "bool");
    return operator === "==" ? isNull : this.#step("not", [isNull], "bool");
  }

  #compare(operation: Operation, x: Value, y: Value, at: number): Value {
    if (commonKind(x.kind, y.kind) === null) {
      const message = `${describeKind(x.kind)} is compared with ${describeKind(y.kind)}`;
      refuse(at, message, explainMixed(x.kind, y.kind));
    }
    return this.#step(operation, [x, y], "bool");
  }

  /** x in (a, b) is x == a or x == b; a set of many literals means the same. */
  #membership(operand: Tree, items: readonly Tree[]): Value {
    const value = this.value(operand);
    const tests = items.map((item) => {
      if (isNullLiteral(item)) refuse(item.at, "nothing equals null", "write x in (1, 2) or x is null");
      return this.#compare("equal", value, this.value(item), item.at);
    });
    const set = toSet(items);
    return set === null
      ? tests.reduce((found, test) => this.#step("or", [found, test], "bool"))
      : this.#graph.step("in", [value], "bool", { source: this.#graph.setNumber(set) });
  }

  #call(name: string, trees: readonly Tree[], at: number): Value {
    const signature = Object.hasOwn(FUNCTIONS, name) ? FUNCTIONS[name] : undefined;
    if (signature === undefined) return refuseUnknownFunction(name, at);
    checkCount(name, signature, trees.length, at);
    const { parameters, operation, result } = signature;
    const values = trees.map((tree, index) => {
      const wanted = parameters[Math.min(index, parameters.length - 1)] ?? "any";
      return this.#need(tree, wanted, `${name}()`);
    });
    const [first, second, third] = values;
    switch (name) {
      case "if":
        return this.#choice("if", [first!], [second!, third!], [trees[1]!, trees[2]!]);
      case "coalesce":
        return this.#coalesce(values, trees);
      case "concat":
        return values
          .map((value) => this.#toText(value))
          .reduce((a, b) => this.#step("concat", [a, b], "string"));
      case "min":
      case "max": {
        const extreme = name === "min" ? "minimum" : "maximum";
        return values.reduce((a, b) => this.#step(extreme, [a, b], "number"));
      }
      case "clamp":
        return this.#step("minimum", [this.#step("maximum", [first!, second!], "number"), third!], "number");
      case "event_time":
        return this.#eventTime(at);
      case "time":
        return this.#instant(trees[0]!);
      default:
        return this.#step(
          operation ?? refuseUnknownFunction(name, at),
          values.length > 0 ? values : [this.#eventTime(at)],
          result,
        );
    }
  }

  #choice(
    operation: "if" | "coalesce",
    before: readonly Value[],
    values: readonly Value[],
    trees: readonly Tree[],
  ): Value {
    const [a, b] = values as [Value, Value];
    const kind = commonKind(a.kind, b.kind);
    if (kind === null) {
      const message = `${operation}() gives ${describeKind(a.kind)} or ${describeKind(b.kind)}`;
      return refuse(trees[1]!.at, message, "let both be of one kind");
    }
    return this.#graph.step(operation, [...before, ...values], kind, { operandKind: kind });
  }

  /** From the left; the kind that one of them has is asked of all. */
  #coalesce(values: readonly Value[], trees: readonly Tree[]): Value {
    let chosen = values[0]!;
    const kind = values.reduce<Kind>((known, value, index) => {
      const common = commonKind(known, value.kind);
      if (common !== null) return common;
      const message = `coalesce() gives ${describeKind(known)} or ${describeKind(value.kind)}`;
      return refuse(trees[index]!.at, message, "let all be of one kind");
    }, "null");
    for (const value of values.slice(1)) {
      chosen = this.#graph.step("coalesce", [chosen, value], kind, { operandKind: kind });
    }
    return chosen;
  }

  #toText(value: Value): Value {
    return value.kind === "string" ? value : this.#step("toText", [value], "string");
  }

  #eventTime(at: number): Value {
    const value = this.#scope.eventTime(this.#graph);
    return value ?? refuse(at, "a result has no event time", "write hour(window.start)");
  }

  #instant(tree: Tree): Value {
    const fix = 'write time("2026-01-01T00:00:00Z")';
    if (tree.type !== "literal" || typeof tree.value !== "string")
      return refuse(tree.at, "time() takes a text that stands in the expression", fix);
    const us = parseInstantUs(tree.value);
    return us === null
      ? refuse(tree.at, "this is no time of ISO 8601 with a time zone", fix)
      : this.#graph.literal(us);
  }
}

/** From here on a look-up takes less time than comparisons. */
const LEAST_SET = 4;

/** The literals as a set when there are many and all are texts, or numbers that are exact as floats; else null. */
function toSet(items: readonly Tree[]): ValueSet | null {
  if (items.length < LEAST_SET) return null;
  const values = items.map((item) => (item.type === "literal" ? item.value : null));
  if (values.every((value) => typeof value === "string"))
    return { kind: "string", values: [...new Set(values)].toSorted() };
  const isExact = (value: number | bigint): boolean => Math.abs(Number(value)) < 2 ** 53;
  if (!values.every((value) => (typeof value === "number" || typeof value === "bigint") && isExact(value)))
    return null;
  return { kind: "number", values: [...new Set(values.map(Number))].toSorted((a, b) => a - b) };
}

function isNullLiteral(tree: Tree): boolean {
  return tree.type === "literal" && tree.value === null;
}

function checkCount(name: string, signature: Signature, count: number, at: number): void {
  const { parameters, optional = 0, isVariadic = false, example } = signature;
  const least = parameters.length - optional;
  if (count >= least && (isVariadic || count <= parameters.length)) return;
  const wanted = isVariadic
    ? `at least ${least}`
    : optional > 0
      ? `at most ${parameters.length}`
      : `${least}`;
  const word = parameters.length === 1 && !isVariadic ? "argument" : "arguments";
  refuse(at, `${name}() takes ${wanted} ${word}, and has ${count}`, `write it like ${example}`);
}

function refuseUnknownFunction(name: string, at: number): never {
  const names = Object.keys(FUNCTIONS);
  const hint = nearest(name, names);
  const fix = hint === null ? `the functions are ${names.join(", ")}` : `did you mean ${hint}()?`;
  return refuse(at, `there is no function ${name}()`, fix);
}

function explainWanted(wanted: Kind, kind: Kind): string {
  if (wanted === "number" && kind === "bool") return "write if(x, 1, 0)";
  if (wanted === "string") return "write string(x)";
  if (wanted === "bool") return "compare it, as in temp > 90";
  return "name a field with numbers, or declare the field as int or float";
}

function explainMixed(a: Kind, b: Kind): string {
  if (a === "string" || b === "string") {
    return a === "number" || b === "number"
      ? "make the number a text with string(x), or compare it with a number"
      : 'compare with a text, as in state == "on"';
  }
  return "leave the comparison out, as in on and not off";
}
