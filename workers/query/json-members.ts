/** One member of a JSON object: its name, and its value's text without insignificant white space. */
export interface Member {
  readonly name: string;
  readonly value: string;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
const COMMA = 0x2c;

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;
}

/**
 * Splits the text of a JSON object into its members and leaves the values as they are written, so that no number
 * loses a digit. White space outside strings goes: a pretty-printed array must not break an NDJSON line.
 * Values are not validated beyond their brackets. @returns null when the text is no JSON object.
 */
export function splitObject(text: string): readonly Member[] | null {
  const members: Member[] = [];
  let at = skipSpace(text, 0);
  if (text[at] !== "{") return null;
  at = skipSpace(text, at + 1);
  if (text[at] === "}") return skipSpace(text, at + 1) === text.length ? members : null;
  while (text.charCodeAt(at) === QUOTE) {
    const nameEnd = stringEnd(text, at);
    const name = nameEnd === -1 ? null : parseString(text.slice(at, nameEnd));
    if (name === null) return null;
    at = skipSpace(text, nameEnd);
    if (text.charCodeAt(at) !== COLON) return null;
    const value = readValue(text, at + 1);
    if (value === null || value.text === "") return null;
    members.push({ name, value: value.text });
    if (text[value.end] === "}") return skipSpace(text, value.end + 1) === text.length ? members : null;
    at = skipSpace(text, value.end + 1);
  }
  return null;
}

/** The value's text, and where the `,` or `}` behind it stands. */
function readValue(text: string, start: number): { readonly text: string; readonly end: number } | null {
  let written = "";
  let copied = skipSpace(text, start);
  let depth = 0;
  for (let at = copied; at < text.length; ) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      at = stringEnd(text, at);
      if (at === -1) return null;
      continue;
    }
    if (isSpace(code)) {
      written += text.slice(copied, at);
      at = skipSpace(text, at);
      copied = at;
      continue;
    }
    const isClosing = code === 0x7d || code === 0x5d;
    if (depth === 0 && (code === COMMA || isClosing)) {
      return code === 0x5d ? null : { text: written + text.slice(copied, at), end: at };
    }
    if (code === 0x7b || code === 0x5b) depth++;
    else if (isClosing) depth--;
    at++;
  }
  return null;
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (at < text.length && isSpace(text.charCodeAt(at))) at++;
  return at;
}

/** Just behind the closing quote of the string that opens at `start`, or -1. */
function stringEnd(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === BACKSLASH) at++;
    else if (code === QUOTE) return at + 1;
  }
  return -1;
}

function parseString(text: string): string | null {
  try {
    return JSON.parse(text) as string;
  } catch {
    return null;
  }
}
