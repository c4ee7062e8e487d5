/** What a text of PostgreSQL cannot hold, a NUL and half a surrogate pair, becomes U+FFFD, where it is stored and where it is asked for. */
export function cleanText(text: string): string {
  return text.replaceAll("\0", "\ufffd").toWellFormed();
}
