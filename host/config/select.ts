import type { AggregateName } from "../../workers/messages.ts";
import { nearest } from "./suggest.ts";

interface SelectExpression {
  readonly fn: AggregateName;
  /** Dot path; null for `count()`. */
  readonly field: string | null;
  readonly parameter: number | null;
}

/** What is wrong with an expression. `column` is 0-based in its text. */
interface SelectProblem {
  readonly column: number;
  readonly message: string;
  readonly fix: string;
}

type SelectResult =
  | { readonly ok: true; readonly expression: SelectExpression }
  | { readonly ok: false; readonly problem: SelectProblem };

const FUNCTIONS: readonly AggregateName[] = [
  "count",
  "sum",
  "avg",
  "min",
  "max",
  "range",
  "first",
  "last",
  "variance",
  "stddev",
  "quantile",
];
/** Named in the design, not computed yet. */
const LATER: readonly string[] = ["distinct", "topk", "histogram", "delta", "rate", "integral", "twa"];
const TOKEN =
  /\s*(?:(?<word>[\p{L}_][\p{L}\p{N}_]*(?:\.[\p{L}_][\p{L}\p{N}_]*)*)|(?<quoted>`[^`]+`)|(?<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)|(?<mark>[(),]))/uy;

interface Token {
  readonly kind: "word" | "quoted" | "number" | "mark" | "end" | "unknown";
  readonly text: string;
  readonly column: number;
}

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
  tokens.expect("(", `write ${fn}(${fn === "count" ? "" : "temp"})`);
  if (fn === "count" && tokens.peek().text === ")") {
    tokens.next();
    tokens.expectEnd();
    return { fn, field: null, parameter: null };
  }
  const field = readField(tokens, fn);
  const parameter = fn === "quantile" ? readQuantile(tokens, field) : null;
  if (tokens.peek().text === ",") tokens.refuse(`${fn}() takes one argument`, "remove the others");
  tokens.expect(")", "close the bracket");
  tokens.expectEnd();
  return { fn, field, parameter };
}

function readFunction(tokens: Tokens): AggregateName {
  const { kind, text } = tokens.peek();
  if (kind !== "word") tokens.refuse("a function is missing here", "write a call such as avg(temp)");
  const known = FUNCTIONS.find((name) => name === text);
  if (known !== undefined) {
    tokens.next();
    return known;
  }
  if (LATER.includes(text)) {
    return tokens.refuse(`${text}() is not supported by this release`, `use one of ${FUNCTIONS.join(", ")}`);
  }
  const hint = nearest(text, FUNCTIONS);
  const fix = hint === null ? `use one of ${FUNCTIONS.join(", ")}` : `did you mean ${hint}()?`;
  return tokens.refuse(`there is no function ${text}()`, fix);
}

function readField(tokens: Tokens, fn: string): string {
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
  return tokens.refuse(
    `${fn}() needs a field`,
    `name one, as in ${fn}(${fn === "quantile" ? "temp, 0.99" : "temp"})`,
  );
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

/** The text, a token at a time. Methods that refuse throw, and `parseSelect` catches. */
class Tokens {
  readonly #text: string;
  #at = 0;
  #ahead: Token | null = null;

  constructor(text: string) {
    this.#text = text;
  }

  peek(): Token {
    this.#ahead ??= this.#read();
    return this.#ahead;
  }

  next(): void {
    this.#ahead = null;
  }

  expect(mark: string, fix: string): void {
    const { kind, text } = this.peek();
    if (text !== mark)
      this.refuse(
        kind === "end" ? `"${mark}" is missing at the end` : `"${mark}" is missing before "${text}"`,
        fix,
      );
    this.next();
  }

  expectEnd(): void {
    const { kind, text } = this.peek();
    if (kind !== "end") this.refuse(`unexpected "${text}" after the call`, "one value is one call");
  }

  refuse(message: string, fix: string): never {
    const { column } = this.peek();
    throw new Refusal({ column, message: `column ${column + 1}: ${message}`, fix });
  }

  #read(): Token {
    TOKEN.lastIndex = this.#at;
    const match = TOKEN.exec(this.#text);
    if (match === null) {
      const column = this.#text.length - this.#text.slice(this.#at).trimStart().length;
      const [text = ""] = this.#text.slice(column);
      return { kind: text === "" ? "end" : "unknown", text, column };
    }
    this.#at = TOKEN.lastIndex;
    const groups = Object.entries(match.groups ?? {});
    const [kind, text] = groups.find(([, found]) => found !== undefined) ?? ["unknown", ""];
    return { kind: kind as Token["kind"], text: text ?? "", column: this.#at - (text?.length ?? 0) };
  }
}

class Refusal extends Error {
  readonly problem: SelectProblem;

  constructor(problem: SelectProblem) {
    super(problem.message);
    this.problem = problem;
  }
}
