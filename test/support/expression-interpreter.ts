import type { Tree } from "../../host/config/expression/tree.ts";

/** A value of an expression: ints are bigints, floats numbers. */
export type Value = null | boolean | bigint | number | string;
/** What a column holds; "null" when it has no value in any row. */
export type ColumnType = "null" | "bool" | "int" | "float" | "string";

/** One event, and the types of its columns. */
export interface Row {
  readonly timeUs: bigint;
  readonly types: ReadonlyMap<string, ColumnType>;
  readonly values: ReadonlyMap<string, Value>;
}

const LEAST = -(2n ** 63n);
const GREATEST = 2n ** 63n - 1n;
const KEEP_TYPE: ReadonlySet<string> = new Set(["abs", "floor", "ceil", "round", "min", "max", "clamp"]);
const WHOLE: ReadonlySet<string> = new Set([
  ...["length", "sign", "year", "month", "day", "hour", "minute", "second", "weekday", "event_time", "time"],
]);
const BOOLS: ReadonlySet<string> = new Set(["starts_with", "ends_with", "contains"]);
const TEXTS: ReadonlySet<string> = new Set(["lower", "upper", "concat", "string"]);
/** From so many items on, "in" looks them up. */
const LEAST_SET = 4;

/** The meaning of an expression for one row, node by node: slow and plain. */
export function interpret(tree: Tree, row: Row): Value {
  switch (tree.type) {
    case "literal":
      return tree.value;
    case "name":
      return tree.name === "ts" ? row.timeUs : (row.values.get(tree.name) ?? null);
    case "negate":
      return arithmetic("-", 0n, interpret(tree.operand, row));
    case "not": {
      const value = bool(interpret(tree.operand, row));
      return value === null ? null : !value;
    }
    case "arithmetic":
      return arithmetic(tree.operator, interpret(tree.left, row), interpret(tree.right, row));
    case "comparison":
      return comparison(tree, row);
    case "logic": {
      const left = bool(interpret(tree.left, row));
      const right = bool(interpret(tree.right, row));
      const decisive = tree.operator === "or";
      if (left === decisive || right === decisive) return decisive;
      return left === null || right === null ? null : !decisive;
    }
    case "like": {
      const text = interpret(tree.operand, row);
      const pattern = interpret(tree.pattern, row);
      if (typeof text !== "string" || typeof pattern !== "string") return null;
      return isLike([...text], [...pattern]);
    }
    case "in": {
      const tests = tree.items.map((item) =>
        compare("==", interpret(tree.operand, row), interpret(item, row)),
      );
      return tests.includes(true) ? true : tests.includes(null) ? null : false;
    }
    case "between": {
      const value = interpret(tree.operand, row);
      const tests = [
        compare(">=", value, interpret(tree.low, row)),
        compare("<=", value, interpret(tree.high, row)),
      ];
      return tests.includes(false) ? false : tests.includes(null) ? null : true;
    }
    case "is-null":
      return interpret(tree.operand, row) === null;
    case "call":
      return call(tree, row);
  }
}

/** The type that the values of an expression have, whichever row. */
export function typeOf(tree: Tree, types: Row["types"]): ColumnType {
  const of = (part: Tree): ColumnType => typeOf(part, types);
  switch (tree.type) {
    case "literal":
      if (tree.value === null) return "null";
      if (typeof tree.value === "boolean") return "bool";
      if (typeof tree.value === "string") return "string";
      return typeof tree.value === "bigint" ? "int" : "float";
    case "name":
      return tree.name === "ts" ? "int" : (types.get(tree.name) ?? "null");
    case "negate":
      return numeric(["int", of(tree.operand)]);
    case "arithmetic": {
      const type = numeric([of(tree.left), of(tree.right)]);
      return type === "int" && tree.operator === "/" ? "float" : type;
    }
    case "call":
      // Nulls alone have no type, and neither has what is made of them.
      if (!takes(tree.name, tree.arguments.map(of))) return "null";
      if (WHOLE.has(tree.name)) return "int";
      if (BOOLS.has(tree.name)) return "bool";
      if (TEXTS.has(tree.name)) return "string";
      if (tree.name === "if" || tree.name === "coalesce") {
        const kind = kindOf(tree);
        return common(
          alternatives(tree)
            .map(of)
            .filter((type) => isOfKind(type, kind)),
        );
      }
      return KEEP_TYPE.has(tree.name) ? numeric(tree.arguments.map(of)) : "float";
    case "comparison":
      return isNullTest(tree) || areComparable(of(tree.left), of(tree.right)) ? "bool" : "null";
    case "like":
      return areComparable(of(tree.operand), "string") ? "bool" : "null";
    case "in": {
      // A few are compared one by one, and what "or" makes of these is a bool even where each is null.
      const kind = tree.items.length === 1 ? of(tree.items[0]!) : kindOfSet(tree.items);
      return kind === null || areComparable(of(tree.operand), kind) ? "bool" : "null";
    }
    default:
      return "bool";
  }
}

function isNullTest({ left, right }: Tree & { type: "comparison" }): boolean {
  return [left, right].some((side) => side.type === "literal" && side.value === null);
}

/** Of operands that are of two kinds nothing but nulls is made, which have no type. */
function areComparable(a: ColumnType, b: ColumnType): boolean {
  return numeric([a, b]) !== "null" || (a === b && a !== "null");
}

/** What is looked up in a set: texts, or numbers that are exact as floats. */
function kindOfSet(items: readonly Tree[]): "string" | "float" | null {
  if (items.length < LEAST_SET) return null;
  const values = items.map((item) => (item.type === "literal" ? item.value : null));
  if (values.every((value) => typeof value === "string")) return "string";
  return values.every((value) => isNumber(value) && Math.abs(Number(value)) < 2 ** 53) ? "float" : null;
}

/** Whether a function gives values for arguments of such types. */
function takes(name: string, types: readonly ColumnType[]): boolean {
  if (name === "if" || name === "coalesce") return true;
  if (name === "concat" || name === "string") return !types.includes("null");
  const wantsText = BOOLS.has(name) || ["lower", "upper", "length", "time"].includes(name);
  return wantsText
    ? types.every((type) => type === "string")
    : types.length === 0 || numeric(types) !== "null";
}

/** What is known of an expression over undeclared fields before there are events; null when nothing is. */
function kindOf(tree: Tree): "number" | "bool" | "string" | null {
  switch (tree.type) {
    case "literal":
      if (tree.value === null) return null;
      return typeof tree.value === "boolean" ? "bool" : typeof tree.value === "string" ? "string" : "number";
    case "name":
      return tree.name === "ts" ? "number" : null;
    case "negate":
    case "arithmetic":
      return "number";
    case "call":
      if (tree.name === "if" || tree.name === "coalesce")
        return (
          alternatives(tree)
            .map(kindOf)
            .find((kind) => kind !== null) ?? null
        );
      if (BOOLS.has(tree.name)) return "bool";
      return TEXTS.has(tree.name) ? "string" : "number";
    default:
      return "bool";
  }
}

function alternatives(tree: Tree & { type: "call" }): readonly Tree[] {
  return tree.name === "if" ? tree.arguments.slice(1) : tree.arguments;
}

function isOfKind(type: ColumnType, kind: ReturnType<typeof kindOf>): boolean {
  return kind === null || type === kind || (kind === "number" && (type === "int" || type === "float"));
}

/** Of operands that must be numbers. */
function numeric(types: readonly ColumnType[]): ColumnType {
  if (types.some((type) => type !== "int" && type !== "float")) return "null";
  return types.includes("float") ? "float" : "int";
}

/** Of alternatives. */
function common(types: readonly ColumnType[]): ColumnType {
  const first = types.find((type) => type !== "null") ?? "null";
  return first === "int" && types.includes("float") ? "float" : first;
}

function arithmetic(operator: string, a: Value, b: Value): Value {
  if (typeof a === "bigint" && typeof b === "bigint" && operator !== "/") {
    if (operator === "%") return b === 0n ? null : a % b;
    const result = operator === "+" ? a + b : operator === "-" ? a - b : a * b;
    return result < LEAST || result > GREATEST ? null : result;
  }
  if (!isNumber(a) || !isNumber(b)) return null;
  const x = Number(a);
  const y = Number(b);
  const results: Record<string, number> = { "+": x + y, "-": x - y, "*": x * y, "/": x / y, "%": x % y };
  return finite(results[operator]!);
}

function comparison(tree: Tree & { type: "comparison" }, row: Row): Value {
  const left = interpret(tree.left, row);
  const right = interpret(tree.right, row);
  if (isNullTest(tree)) return (left === null && right === null) === (tree.operator === "==");
  return compare(tree.operator, left, right);
}

function compare(operator: string, a: Value, b: Value): boolean | null {
  const order = orderOf(a, b);
  if (order === null) return null;
  const results: Record<string, boolean> = {
    "==": order === 0,
    "!=": order !== 0,
    "<": order < 0,
    "<=": order <= 0,
    ">": order > 0,
    ">=": order >= 0,
  };
  return results[operator]!;
}

function orderOf(a: Value, b: Value): number | null {
  if (typeof a === "string" && typeof b === "string") return Buffer.compare(Buffer.from(a), Buffer.from(b));
  if (typeof a === "boolean" && typeof b === "boolean") return Number(a) - Number(b);
  // JavaScript compares a bigint with a number by their exact values.
  return isNumber(a) && isNumber(b) ? (a < b ? -1 : a > b ? 1 : 0) : null;
}

function call(tree: Tree & { type: "call" }, row: Row): Value {
  const values = tree.arguments.map((argument) => interpret(argument, row));
  const type = typeOf(tree, row.types);
  const [a, b, c] = values;
  switch (tree.name) {
    case "if":
      return convert(bool(a) === true ? b! : c!, type);
    case "coalesce":
      return values.map((value) => convert(value, type)).find((value) => value !== null) ?? null;
    case "min":
    case "max":
      return values.reduce((x, y) => extreme(tree.name, x, y));
    case "clamp":
      return convert(extreme("min", extreme("max", a!, b!), c!), type);
    case "concat":
      return values.includes(null) ? null : values.map(text).join("");
    case "string":
      return a === null ? null : text(a!);
    case "event_time":
      return row.timeUs;
    case "pow":
      return isNumber(a) && isNumber(b) ? finite(Number(a) ** Number(b)) : null;
    case "year":
    case "month":
    case "day":
    case "hour":
    case "minute":
    case "second":
    case "weekday": {
      const timeUs = values.length === 0 ? row.timeUs : a;
      return isNumber(timeUs) ? timePart(tree.name, timeUs) : null;
    }
  }
  if (typeof a === "string") return ofTexts(tree.name, a, b ?? null);
  return isNumber(a) ? ofNumber(tree.name, a) : null;
}

function ofTexts(name: string, a: string, b: Value): Value {
  if (name === "length") return BigInt([...a].length);
  if (name === "lower") return eachCharacter(a, (character) => character.toLowerCase());
  if (name === "upper")
    return eachCharacter(a, (character) => (character === "ß" ? "ẞ" : character.toUpperCase()));
  if (typeof b !== "string") return null;
  if (name === "starts_with") return a.startsWith(b);
  if (name === "ends_with") return a.endsWith(b);
  return name === "contains" ? a.includes(b) : null;
}

/** One character for one: what would become several stays. */
function eachCharacter(text: string, change: (character: string) => string): string {
  return [...text].map((one) => ([...change(one)].length === 1 ? change(one) : one)).join("");
}

function ofNumber(name: string, a: bigint | number): Value {
  if (name === "sign") return a > 0 ? 1n : a < 0 ? -1n : 0n;
  if (typeof a === "bigint") {
    if (name === "abs") return a === LEAST ? null : a < 0n ? -a : a;
    if (name === "floor" || name === "ceil" || name === "round") return a;
  }
  const x = Number(a);
  switch (name) {
    case "abs":
      return Math.abs(x);
    case "floor":
      return Math.floor(x);
    case "ceil":
      return Math.ceil(x);
    case "round":
      return Math.abs(x - Math.trunc(x)) >= 0.5 ? Math.trunc(x) + Math.sign(x) : Math.trunc(x);
    case "sqrt":
      return finite(Math.sqrt(x));
    case "exp":
      return finite(Math.exp(x));
    case "ln":
      return finite(Math.log(x));
    case "log10":
      return finite(Math.log10(x));
  }
  return null;
}

function timePart(name: string, time: bigint | number): Value {
  if (typeof time === "number" && !(Math.abs(time) < 9e18))
    return Math.floor(time) === -(2 ** 63) ? 0n : null;
  const us = typeof time === "bigint" ? time : BigInt(Math.floor(time));
  const date = new Date(Number((us - (((us % 1000n) + 1000n) % 1000n)) / 1000n));
  switch (name) {
    case "year":
      return BigInt(date.getUTCFullYear());
    case "month":
      return BigInt(date.getUTCMonth() + 1);
    case "day":
      return BigInt(date.getUTCDate());
    case "hour":
      return BigInt(date.getUTCHours());
    case "minute":
      return BigInt(date.getUTCMinutes());
    case "second":
      return BigInt(date.getUTCSeconds());
    default:
      return BigInt(date.getUTCDay() || 7);
  }
}

function extreme(name: string, a: Value, b: Value): Value {
  if (!isNumber(a) || !isNumber(b)) return null;
  const [x, y] = typeof a === typeof b ? [a, b] : [Number(a), Number(b)];
  if (name === "min") return y < x ? y : x;
  return y < x ? x : y;
}

function text(value: Value): string {
  return Object.is(value, -0) ? "0" : String(value);
}

/** Of an alternative: a value of another kind is null, an int beside floats is a float. */
function convert(value: Value, type: ColumnType): Value {
  if (type === "float") return isNumber(value) ? Number(value) : null;
  const types = { bool: "boolean", int: "bigint", string: "string", null: "null" } as const;
  return typeof value === types[type] ? value : null;
}

function bool(value: Value | undefined): boolean | null {
  return typeof value === "boolean" ? value : null;
}

function isNumber(value: Value | undefined): value is bigint | number {
  return typeof value === "bigint" || typeof value === "number";
}

function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

/** A table of what matches what. */
function isLike(text: readonly string[], pattern: readonly string[]): boolean {
  let before = [true, ...text.map(() => false)];
  for (const wanted of pattern) {
    const row = [wanted === "*" && before[0]!];
    text.forEach((character, index) => {
      if (wanted === "*") row.push(before[index + 1]! || row[index]!);
      else row.push(before[index]! && (wanted === "?" || wanted === character));
    });
    before = row;
  }
  return before.at(-1)!;
}
