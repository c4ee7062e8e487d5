/** One thing that is wrong with a configuration, where, and how to mend it. Lines and columns are 1-based. */
export interface Problem {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** Dots between the parts; empty for the file as a whole. */
  readonly path: string;
  readonly message: string;
  /** What to do, where that is known. */
  readonly fix: string | null;
}

/** `file:line: path: message; fix`. */
export function formatProblem({ file, line, path, message, fix }: Problem): string {
  const where = path === "" ? "" : `${path}: `;
  return `${file}:${line}: ${where}${message}${fix === null ? "" : `; ${fix}`}`;
}

/** Parts what is wrong from how to mend it: `message; fix`. Fixes themselves have no semicolon. */
export function splitFix(text: string): { message: string; fix: string | null } {
  const at = text.lastIndexOf("; ");
  return at < 0 ? { message: text, fix: null } : { message: text.slice(0, at), fix: text.slice(at + 2) };
}
