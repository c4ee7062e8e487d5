/**
 * Two things that people write and YAML misreads inside `{ … }`: the braces of `${NAME}` and the commas of
 * `quantile(temp, 0.99)`. They are veiled by private-use characters, one for one, so that every offset stays right; after
 * parsing they are put back.
 */

const VARIABLE = /\$\{([A-Za-z_]\w*)\}/g;
const OPEN = "\u{E000}\u{E000}";
const CLOSE = "\u{E001}";
const COMMA = "\u{E002}";
const CALL_START = /\w\(/g;

/** A veiled `${NAME}`; the group is the name. */
export const VEILED_VARIABLE = new RegExp(`${OPEN}([A-Za-z_]\\w*)${CLOSE}`, "g");

export function veil(text: string): string {
  return text.replace(VARIABLE, `${OPEN}$1${CLOSE}`).split("\n").map(veilCalls).join("\n");
}

export function unveil(text: string): string {
  return text.replace(VEILED_VARIABLE, (_, name: string) => `\${${name}}`).replaceAll(COMMA, ",");
}

/** Veils the commas of every call that ends in its line. */
function veilCalls(line: string): string {
  let veiled = line;
  for (const { index } of line.matchAll(CALL_START)) {
    const start = index + 1;
    const end = closingBracket(line, start);
    if (end < 0) continue;
    veiled = veiled.slice(0, start) + veiled.slice(start, end).replaceAll(",", COMMA) + veiled.slice(end);
  }
  return veiled;
}

/** Where the bracket at `start` closes; -1 when it does not. */
function closingBracket(line: string, start: number): number {
  let depth = 0;
  for (let at = start; at < line.length; at++) {
    if (line[at] === "(") depth++;
    if (line[at] === ")" && --depth === 0) return at;
  }
  return -1;
}
