/**
 * What people write and YAML misreads, most of it inside `{ … }`: the braces of `${NAME}`, the commas of
 * `quantile(temp, 0.99)`, the list of `state in ["on", "idle"]`, and backquotes. They are veiled by private-use characters, one for one, so that every offset stays right; after
 * parsing they are put back.
 */

const VARIABLE = /\$\{([A-Za-z_]\w*)\}/g;
const OPEN = "\u{E000}\u{E000}";
const CLOSE = "\u{E001}";
const COMMA = "\u{E002}";
const LIST_OPEN = "\u{E003}";
const LIST_CLOSE = "\u{E004}";
const BACKQUOTE = "\u{E005}";
const CALL_START = /\w\(/g;
const LIST_START = /\bin\s*([[(])/g;

/** A veiled `${NAME}`; the group is the name. */
export const VEILED_VARIABLE = new RegExp(`${OPEN}([A-Za-z_]\\w*)${CLOSE}`, "g");

export function veil(text: string): string {
  const variables = text.replace(VARIABLE, `${OPEN}$1${CLOSE}`);
  // In JSON everything else stands in quotes.
  if (isJson(text)) return variables;
  const lines = variables.replaceAll("`", BACKQUOTE).split("\n");
  return lines.map((line) => veilLists(veilCalls(line))).join("\n");
}

export function unveil(text: string): string {
  return text
    .replace(VEILED_VARIABLE, (_, name: string) => `\${${name}}`)
    .replaceAll(COMMA, ",")
    .replaceAll(LIST_OPEN, "[")
    .replaceAll(LIST_CLOSE, "]")
    .replaceAll(BACKQUOTE, "`");
}

function isJson(text: string): boolean {
  if (!/^\s*\{\s*["}]/.test(text)) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
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

/** Veils every list after `in` that ends in its line. */
function veilLists(line: string): string {
  let veiled = line;
  for (const { 0: found, 1: open, index } of line.matchAll(LIST_START)) {
    const start = index + found.length - 1;
    const end = open === "(" ? closingBracket(line, start) : line.indexOf("]", start);
    if (end < 0) continue;
    const items = veiled.slice(start + 1, end).replaceAll(",", COMMA);
    const [left, right] = open === "(" ? ["(", ")"] : [LIST_OPEN, LIST_CLOSE];
    veiled = veiled.slice(0, start) + left + items + right + veiled.slice(end + 1);
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
