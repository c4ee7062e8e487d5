import { type Attempt, attempt, refuse } from "./problem.ts";
import { readTokens, type Token } from "./tokens.ts";
import type { ArithmeticOperator, ComparisonOperator, Literal, Tree } from "./tree.ts";

/** An expression with its text, for messages and for those who ask what is configured. */
export interface Expression {
  readonly text: string;
  readonly tree: Tree;
}

export const MAX_EXPRESSION_CHARACTERS = 8_192;
/** Brackets, calls and prefixes within each other. */
const MAX_DEPTH = 100;
const LEAST_INT = -(2n ** 63n);
const GREATEST_INT = 2n ** 63n - 1n;

/** From the loosest to the tightest. */
const LEVEL = { or: 1, and: 2, not: 3, comparison: 4, sum: 5, product: 6, prefix: 7 } as const;
const COMPARISONS: readonly string[] = ["==", "!=", "<", "<=", ">", ">="];
const KEYWORDS: ReadonlySet<string> = new Set([
  ...["and", "or", "not", "in", "between", "like", "is", "null", "true", "false"],
]);
const ENDS_CALL = "write it like max(a, b)";

/** Reads an expression. Every text gives a tree or a problem with its place. */
export function parseExpression(text: string): Attempt<Expression> {
  return attempt(text, () => {
    if (text.length > MAX_EXPRESSION_CHARACTERS)
      refuse(0, `more than ${MAX_EXPRESSION_CHARACTERS} characters`, "part it into several derive entries");
    const tree = new Reader(readTokens(text)).readWhole();
    return { text, tree };
  });
}

/** Precedence climbing (Richards, 1979; Clarke, 1986). */
class Reader {
  readonly #tokens: readonly Token[];
  #index = 0;
  #depth = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  readWhole(): Tree {
    const tree = this.#read(LEVEL.or);
    const { kind, text, at } = this.#token;
    if (kind !== "end") refuse(at, `unexpected ${quote(this.#token)}`, explainRest(text));
    return tree;
  }

  get #token(): Token {
    return this.#tokens[this.#index]!;
  }

  #next(): Token {
    const token = this.#token;
    this.#index++;
    return token;
  }

  #isMark(text: string): boolean {
    return this.#token.kind === "mark" && this.#token.text === text;
  }

  #isWord(text: string): boolean {
    return this.#token.kind === "name" && this.#token.text === text;
  }

  #expect(mark: string, fix: string): void {
    if (!this.#isMark(mark)) {
      const { kind, at } = this.#token;
      const where = kind === "end" ? "at the end" : `before ${quote(this.#token)}`;
      refuse(at, `"${mark}" is missing ${where}`, fix);
    }
    this.#next();
  }

  /** Reads operators that bind at least as tightly as `level`. */
  #read(level: number): Tree {
    if (++this.#depth > MAX_DEPTH)
      refuse(this.#token.at, "too many brackets within each other", "part it into several derive entries");
    let left = this.#readPrefix(level);
    while (true) {
      const next = this.#readOperator(left, level);
      if (next === null) break;
      left = next;
    }
    this.#depth--;
    return left;
  }

  #readOperator(left: Tree, level: number): Tree | null {
    const { kind, text, at } = this.#token;
    if (kind !== "mark" && kind !== "name") return null;
    if ((text === "||" || text === "or") && level <= LEVEL.or) {
      this.#next();
      return { type: "logic", operator: "or", left, right: this.#read(LEVEL.and), at };
    }
    if ((text === "&&" || text === "and") && level <= LEVEL.and) {
      this.#next();
      return { type: "logic", operator: "and", left, right: this.#read(LEVEL.not), at };
    }
    if (kind === "mark" && (text === "+" || text === "-") && level <= LEVEL.sum) {
      this.#next();
      return arithmetic(text, left, this.#read(LEVEL.product), at);
    }
    if (kind === "mark" && (text === "*" || text === "/" || text === "%") && level <= LEVEL.product) {
      this.#next();
      return arithmetic(text, left, this.#read(LEVEL.prefix), at);
    }
    return level <= LEVEL.comparison ? this.#readComparison(left) : null;
  }

  #readComparison(left: Tree): Tree | null {
    const { kind, text, at } = this.#token;
    if (kind === "mark" && COMPARISONS.includes(text)) {
      this.#next();
      const right = this.#read(LEVEL.sum);
      const again = this.#token;
      if (again.kind === "mark" && COMPARISONS.includes(again.text))
        refuse(again.at, "comparisons do not chain", "write a < b and b < c, or b between a and c");
      return { type: "comparison", operator: text as ComparisonOperator, left, right, at };
    }
    if (this.#isWord("is")) return this.#readIs(left);
    const isNegated = this.#isWord("not");
    if (isNegated) {
      this.#next();
      if (!["in", "between", "like"].some((word) => this.#isWord(word)))
        refuse(this.#token.at, "not stands here before in, between or like", "write not x in (1, 2)");
    }
    const tree = this.#readTest(left);
    return tree !== null && isNegated ? { type: "not", operand: tree, at } : tree;
  }

  #readTest(left: Tree): Tree | null {
    const { at } = this.#token;
    if (this.#isWord("in")) {
      this.#next();
      return { type: "in", operand: left, items: this.#readItems(), at };
    }
    if (this.#isWord("between")) {
      this.#next();
      const low = this.#read(LEVEL.sum);
      if (!this.#isWord("and")) refuse(this.#token.at, "and is missing", "write x between 1 and 2");
      this.#next();
      return { type: "between", operand: left, low, high: this.#read(LEVEL.sum), at };
    }
    if (this.#isWord("like")) {
      this.#next();
      return { type: "like", operand: left, pattern: this.#read(LEVEL.sum), at };
    }
    return null;
  }

  #readIs(left: Tree): Tree {
    const { at } = this.#next();
    const isNegated = this.#isWord("not");
    if (isNegated) this.#next();
    if (!this.#isWord("null")) refuse(this.#token.at, "null is missing", "write x is null or x is not null");
    this.#next();
    const tree: Tree = { type: "is-null", operand: left, at };
    return isNegated ? { type: "not", operand: tree, at } : tree;
  }

  #readItems(): Tree[] {
    const isSquare = this.#isMark("[");
    const fix = 'write it like state in ("on", "idle")';
    if (!isSquare && !this.#isMark("(")) refuse(this.#token.at, "a list is missing after in", fix);
    this.#next();
    return this.#readList(isSquare ? "]" : ")", fix);
  }

  /** Reads up to the closing mark; at least one. */
  #readList(close: string, fix: string): Tree[] {
    const items = [this.#read(LEVEL.or)];
    while (this.#isMark(",")) {
      this.#next();
      items.push(this.#read(LEVEL.or));
    }
    this.#expect(close, fix);
    return items;
  }

  #readPrefix(level: number): Tree {
    const { kind, text, at } = this.#token;
    if (kind === "name" && text === "not") {
      if (level > LEVEL.not) refuse(at, "not binds less than what stands before it", "put it in brackets");
      this.#next();
      return { type: "not", operand: this.#read(LEVEL.not), at };
    }
    if (kind === "mark" && text === "!") {
      this.#next();
      return { type: "not", operand: this.#read(LEVEL.prefix), at };
    }
    if (kind === "mark" && text === "-") {
      this.#next();
      const digits = this.#token;
      if (digits.kind !== "number") return { type: "negate", operand: this.#read(LEVEL.prefix), at };
      this.#next();
      return { type: "literal", value: toNumber(`-${digits.text}`, digits.at), at };
    }
    return this.#readPrimary();
  }

  #readPrimary(): Tree {
    const token = this.#token;
    const { kind, text, at } = token;
    if (kind === "number") return this.#literal(toNumber(text, at));
    if (kind === "text") return this.#literal(text);
    if (kind === "quoted") {
      this.#next();
      return { type: "name", name: text, at };
    }
    if (this.#isMark("(")) {
      this.#next();
      const tree = this.#read(LEVEL.or);
      this.#expect(")", "close the bracket");
      return tree;
    }
    if (kind !== "name") {
      const what = kind === "end" ? "a value is missing at the end" : `unexpected ${quote(token)}`;
      refuse(at, what, text === "[" ? "lists stand behind in alone" : "write a field, a number or a text");
    }
    if (text === "null") return this.#literal(null);
    if (text === "true" || text === "false") return this.#literal(text === "true");
    if (KEYWORDS.has(text))
      refuse(at, `unexpected ${quote(token)}`, `write \`${text}\` in backquotes for a field of that name`);
    this.#next();
    return this.#isMark("(") ? this.#readCall(text, at) : { type: "name", name: text, at };
  }

  #literal(value: Literal): Tree {
    return { type: "literal", value, at: this.#next().at };
  }

  #readCall(name: string, at: number): Tree {
    this.#next();
    if (this.#isMark(")")) {
      this.#next();
      return { type: "call", name, arguments: [], at };
    }
    return { type: "call", name, arguments: this.#readList(")", ENDS_CALL), at };
  }
}

function arithmetic(operator: ArithmeticOperator, left: Tree, right: Tree, at: number): Tree {
  return { type: "arithmetic", operator, left, right, at };
}

/** Whole numbers that fit 64 bits are ints, all others floats. */
function toNumber(digits: string, at: number): bigint | number {
  if (/^-?\d+$/.test(digits)) {
    const whole = BigInt(digits);
    if (whole >= LEAST_INT && whole <= GREATEST_INT) return whole;
  }
  const number = Number(digits);
  if (!Number.isFinite(number)) refuse(at, "the number is too great", "the greatest is 1.797e308");
  return number;
}

function quote({ kind, text }: Token): string {
  return kind === "text" ? `the text "${text}"` : `"${text}"`;
}

function explainRest(text: string): string {
  if (text === ")" || text === "]") return "no bracket is open here";
  if (/^(AND|OR|NOT|IN|BETWEEN|LIKE|IS)$/.test(text)) return `write ${text.toLowerCase()}`;
  return "an operator is missing before it, or put names with other characters in `backquotes`";
}
