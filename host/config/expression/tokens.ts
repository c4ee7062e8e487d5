import { refuse } from "./problem.ts";

export interface Token {
  readonly kind: "name" | "quoted" | "text" | "number" | "mark" | "end";
  /** As it is written; of a quoted name or a text, what the quotes hold. */
  readonly text: string;
  readonly at: number;
}

const TOKEN =
  /(?<name>[\p{L}_][\p{L}\p{M}\p{N}_]*(?:\.[\p{L}_][\p{L}\p{M}\p{N}_]*)*)|`(?<quoted>[^`]+)`|(?<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?<number>(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)|(?<mark>&&|\|\||[=!<>]=|[-+*/%<>!(),[\]])/suy;
const SPACE = /\s*/uy;
const ESCAPE = /\\(?:u\{([0-9a-fA-F]{1,6})\}|u([0-9a-fA-F]{4})|(.))/gsu;
const ESCAPED: Readonly<Record<string, string>> = {
  n: "\n",
  r: "\r",
  t: "\t",
  "\\": "\\",
  '"': '"',
  "'": "'",
};
/** What people write elsewhere. */
const INSTEAD: Readonly<Record<string, string>> = {
  "=": "compare with ==",
  "&": "write && or and",
  "|": "write || or or",
  "^": "write pow(x, y)",
  ";": "one expression has no semicolon",
  "?": "write if(condition, a, b)",
  '"': 'close the text with "',
  "'": "close the text with '",
  "`": "close the name with `",
};

/** Parts a text; the last token is the end. Refuses what is no token. */
export function readTokens(text: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  while (true) {
    SPACE.lastIndex = at;
    SPACE.exec(text);
    at = SPACE.lastIndex;
    if (at === text.length) return [...tokens, { kind: "end", text: "", at }];
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(text);
    if (match === null) refuseUnknown(text, at);
    tokens.push(toToken(match, at));
    at = TOKEN.lastIndex;
  }
}

function toToken(match: RegExpExecArray, at: number): Token {
  const { name, quoted, text, number, mark = "" } = match.groups ?? {};
  if (name !== undefined) return { kind: "name", text: name, at };
  if (quoted !== undefined) return { kind: "quoted", text: quoted, at };
  if (text !== undefined) return { kind: "text", text: unescapeText(text.slice(1, -1), at + 1), at };
  if (number !== undefined) return { kind: "number", text: number, at };
  return { kind: "mark", text: mark, at };
}

function unescapeText(text: string, at: number): string {
  return text.replace(ESCAPE, (whole, long?: string, short?: string, single?: string, offset?: number) => {
    const code = Number.parseInt(long ?? short ?? "", 16);
    if (code <= 0x10ffff) return String.fromCodePoint(code);
    const known = ESCAPED[single ?? ""];
    if (known !== undefined) return known;
    return refuse(at + (offset ?? 0), `unknown escape ${whole}`, "write \\\\ for a backslash");
  });
}

function refuseUnknown(text: string, at: number): never {
  const character = String.fromCodePoint(text.codePointAt(at) ?? 0);
  const isOpen = character === '"' || character === "'" || character === "`";
  const message = isOpen ? `what ${character} opens is not closed` : `unexpected "${character}"`;
  return refuse(at, message, INSTEAD[character] ?? "put names with other characters in `backquotes`");
}
