/** What is wrong with an expression. `at` is 0-based in its text. */
export interface ExpressionProblem {
  readonly at: number;
  readonly message: string;
  readonly fix: string;
}

/** How the reader and the checker give up; their entries catch it, and nothing else is thrown. */
export class Refusal extends Error {
  readonly at: number;
  readonly fix: string;

  constructor(at: number, message: string, fix: string) {
    super(message);
    this.at = at;
    this.fix = fix;
  }
}

export function refuse(at: number, message: string, fix: string): never {
  throw new Refusal(at, message, fix);
}

export type Attempt<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly problem: ExpressionProblem };

/** Runs work that may refuse; says in which column of the text, or in which of its lines, the problem is. */
export function attempt<T>(text: string, work: () => T): Attempt<T> {
  try {
    return { ok: true, value: work() };
  } catch (thrown) {
    if (!(thrown instanceof Refusal)) throw thrown;
    const { at, message, fix } = thrown;
    return { ok: false, problem: { at, message: `${placeOf(text, at)}: ${message}`, fix } };
  }
}

function placeOf(text: string, at: number): string {
  const lines = text.slice(0, at).split("\n");
  const column = `column ${(lines.at(-1)?.length ?? 0) + 1}`;
  return text.trimEnd().includes("\n") ? `line ${lines.length}, ${column}` : column;
}
