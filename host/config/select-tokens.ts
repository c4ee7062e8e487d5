/** What is wrong with an expression. `column` is 0-based in its text. */
export interface SelectProblem {
  readonly column: number;
  readonly message: string;
  readonly fix: string;
}

const TOKEN =
  /\s*(?:(?<word>[\p{L}_][\p{L}\p{N}_]*(?:\.[\p{L}_][\p{L}\p{N}_]*)*)|(?<quoted>`[^`]+`)|(?<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)|(?<mark>[(),]))/uy;

interface Token {
  readonly kind: "word" | "quoted" | "number" | "mark" | "end" | "unknown";
  readonly text: string;
  readonly column: number;
}

/** The text, a token at a time. Methods that refuse throw, and `parseSelect` catches. */
export class Tokens {
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
    return this.refuseAt(this.peek().column, message, fix);
  }

  refuseAt(column: number, message: string, fix: string): never {
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

export class Refusal extends Error {
  readonly problem: SelectProblem;

  constructor(problem: SelectProblem) {
    super(problem.message);
    this.problem = problem;
  }
}
