/** A pair of surrogates; what PostgreSQL cannot turn into text; any other escape, so that a backslash before `u0000` is seen for what it is. */
const ESCAPES = /\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|(\\u0000|\\ud[89a-f][0-9a-f]{2})|\\./gi;

/** JSON of which PostgreSQL can read every member: `event ->> 'note'` of one event must not fail a query of all. */
export function cleanJson(json: string): string {
  return json.replace(ESCAPES, (found, bad: string | undefined) => (bad === undefined ? found : "\\ufffd"));
}

/** What a text of PostgreSQL cannot hold, a NUL and half a surrogate pair, becomes U+FFFD, where it is stored and where it is asked for. */
export function cleanText(text: string): string {
  return text.replaceAll("\0", "\ufffd").toWellFormed();
}
