/** Ends each text but the last. No JSON text, URL or id has it. */
const END = "\0";

/** Several texts as one, to be sealed together. Only the last may have a NUL in it. */
export function joinTexts(...texts: readonly string[]): string {
  return texts.join(END);
}

/** The texts that were joined, `count` of them; those that are not there are empty. */
export function splitTexts(joined: string, count: number): string[] {
  const texts: string[] = [];
  let from = 0;
  for (let at = 1; at < count; at++) {
    const end = joined.indexOf(END, from);
    texts.push(end < 0 ? "" : joined.slice(from, end));
    from = end < 0 ? joined.length : end + 1;
  }
  return [...texts, joined.slice(from)];
}
