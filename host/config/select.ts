import type { AggregateName } from "../../workers/messages.ts";
import { AGGREGATE_NAMES, exampleOf } from "./aggregates.ts";
import { Refusal, type SelectProblem, Tokens } from "./select-tokens.ts";
import { nearest } from "./suggest.ts";

interface SelectExpression {
  readonly fn: AggregateName;
  /** Dot path; null for `count()`. */
  readonly field: string | null;
  readonly parameter: number | null;
  readonly bounds?: number[];
}

type SelectResult =
  | { readonly ok: true; readonly expression: SelectExpression }
  | { readonly ok: false; readonly problem: SelectProblem };

type Parameters = Pick<SelectExpression, "parameter" | "bounds">;

const MAX_TOP_SIZE = 100;
const MAX_BOUNDS = 256;

/** Reads `count()`, `avg(motor.temp)`, ``avg(`any name`)`` or `quantile(temp, 0.99)`. */
export function parseSelect(text: string): SelectResult {
  try {
    return { ok: true, expression: readCall(new Tokens(text)) };
  } catch (thrown) {
    if (thrown instanceof Refusal) return { ok: false, problem: thrown.problem };
    throw thrown;
  }
}

function readCall(tokens: Tokens): SelectExpression {
  const fn = readFunction(tokens);
  tokens.expect("(", `write ${fn === "count" ? "count()" : exampleOf(fn, "temp")}`);
  if (fn === "count" && tokens.peek().text === ")") {
    tokens.next();
    tokens.expectEnd();
    return { fn, field: null, parameter: null };
  }
  const field = readField(tokens, fn);
  const parameters = readParameters(tokens, fn, field);
  tokens.expect(")", "close the bracket");
  tokens.expectEnd();
  return { fn, field, ...parameters };
}

function readParameters(tokens: Tokens, fn: AggregateName, field: string): Parameters {
  switch (fn) {
    case "quantile":
      return { parameter: readQuantile(tokens, field) };
    case "topk":
      return { parameter: readTopSize(tokens, field) };
    case "twa":
    case "integral":
      return { parameter: readCurve(tokens, fn, field) };
    case "histogram":
      return { parameter: null, bounds: readBounds(tokens, field) };
    default:
      if (tokens.peek().text === ",") tokens.refuse(`${fn}() takes one argument`, "remove the others");
      return { parameter: null };
  }
}

function readFunction(tokens: Tokens): AggregateName {
  const { kind, text } = tokens.peek();
  if (kind !== "word") tokens.refuse("a function is missing here", "write a call such as avg(temp)");
  const known = AGGREGATE_NAMES.find((name) => name === text);
  if (known !== undefined) {
    tokens.next();
    return known;
  }
  const hint = nearest(text, AGGREGATE_NAMES);
  const fix = hint === null ? `use one of ${AGGREGATE_NAMES.join(", ")}` : `did you mean ${hint}()?`;
  return tokens.refuse(`there is no function ${text}()`, fix);
}

function readField(tokens: Tokens, fn: AggregateName): string {
  const token = tokens.peek();
  if (token.kind === "word" || token.kind === "quoted") {
    tokens.next();
    const { kind, text } = tokens.peek();
    if (kind === "mark" || kind === "end")
      return token.kind === "word" ? token.text : token.text.slice(1, -1);
    return tokens.refuse(
      `unexpected "${text}" after the field`,
      "put names with other characters in `backquotes`",
    );
  }
  if (fn === "count")
    return tokens.refuse("count() takes a field or nothing", "write count() or count(temp)");
  return tokens.refuse(`${fn}() needs a field`, `name one, as in ${exampleOf(fn, "temp")}`);
}

function readQuantile(tokens: Tokens, field: string): number {
  const fix = `write a number from 0 to 1, as in quantile(${field}, 0.99)`;
  tokens.expect(",", fix);
  const { kind, text } = tokens.peek();
  const quantile = Number(text);
  if (kind !== "number" || !(quantile >= 0 && quantile <= 1)) tokens.refuse("not a quantile", fix);
  tokens.next();
  if (tokens.peek().text === ",") tokens.refuse("quantile() takes two arguments", "remove the others");
  return quantile;
}

function readTopSize(tokens: Tokens, field: string): number {
  const fix = `write how many values, from 1 to ${MAX_TOP_SIZE}, as in ${exampleOf("topk", field)}`;
  tokens.expect(",", fix);
  const size = readNumber(tokens, fix);
  if (!Number.isInteger(size.value) || size.value < 1 || size.value > MAX_TOP_SIZE) size.refuse("not a size");
  if (tokens.peek().text === ",") tokens.refuse("topk() takes two arguments", "remove the others");
  return size.value;
}

/** 1 when values are steps, null when lines are drawn between them. */
function readCurve(tokens: Tokens, fn: "twa" | "integral", field: string): number | null {
  if (tokens.peek().text !== ",") return null;
  tokens.next();
  const { text } = tokens.peek();
  const fix = `write ${fn}(${field}, step), or ${fn}(${field}) for straight lines`;
  if (text !== "step" && text !== "linear") tokens.refuse("neither step nor linear", fix);
  tokens.next();
  if (tokens.peek().text === ",") tokens.refuse(`${fn}() takes two arguments at most`, "remove the others");
  return text === "step" ? 1 : null;
}

/** `0, 10, 50`, or `0 to 50 in 5` for bounds at equal distances. */
function readBounds(tokens: Tokens, field: string): number[] {
  const fix = `write bounds, as in ${exampleOf("histogram", field)} or histogram(${field}, 0 to 100 in 10)`;
  tokens.expect(",", fix);
  const first = readNumber(tokens, fix);
  if (tokens.peek().text === "to") return readRange(tokens, first.value, fix);
  const bounds = [first.value];
  while (tokens.peek().text === ",") {
    tokens.next();
    const bound = readNumber(tokens, fix);
    if (bound.value <= bounds.at(-1)!) bound.refuse("bounds must ascend");
    if (bounds.push(bound.value) > MAX_BOUNDS) bound.refuse(`more than ${MAX_BOUNDS} bounds`);
  }
  return bounds;
}

/** The rest of `0 to 100 in 10`: ten intervals of equal width. */
function readRange(tokens: Tokens, from: number, fix: string): number[] {
  tokens.next();
  const to = readNumber(tokens, fix);
  if (to.value <= from) to.refuse("bounds must ascend");
  tokens.expect("in", fix);
  const count = readNumber(tokens, fix);
  if (!Number.isInteger(count.value) || count.value < 1 || count.value >= MAX_BOUNDS)
    count.refuse(`not a number of intervals from 1 to ${MAX_BOUNDS - 1}`);
  const bounds = Array.from(
    { length: count.value + 1 },
    (_, index) => from + ((to.value - from) * index) / count.value,
  );
  if (bounds.some((bound, index) => index > 0 && bound <= bounds[index - 1]!))
    count.refuse("intervals are too narrow");
  return bounds;
}

/** A finite number, and how to refuse it where it stands. */
function readNumber(tokens: Tokens, fix: string): { value: number; refuse: (message: string) => never } {
  const { kind, text, column } = tokens.peek();
  const value = Number(text);
  if (kind !== "number" || !Number.isFinite(value)) return tokens.refuse("a number is missing here", fix);
  tokens.next();
  return { value, refuse: (message) => tokens.refuseAt(column, message, fix) };
}
