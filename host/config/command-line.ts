/** A word: quoted parts and plain ones, one behind the other. */
const WORD = /(?:"[^"]*"|'[^']*'|[^\s"'])+/g;
const QUOTED = /"([^"]*)"|'([^']*)'/g;

/**
 * The words of a command line: divided by white space, with '…' and "…" around words that have any. Nothing else is
 * special: no variables, no pipes, no escapes. null when a quote is not closed.
 */
export function splitCommand(text: string): string[] | null {
  const words = text.match(WORD) ?? [];
  const isWhole = text.replace(WORD, "").trim() === "";
  return isWhole ? words.map((word) => word.replace(QUOTED, (_quoted, a, b) => a ?? b)) : null;
}
