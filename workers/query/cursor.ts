import { MillraceError } from "../errors.ts";

/** A position as opaque text for a URL. */
export function encodeCursor(position: readonly (string | number)[]): string {
  return Buffer.from(JSON.stringify(position)).toString("base64url");
}

/** @throws MillraceError E_CURSOR when the text is none of ours with `length` parts. */
export function decodeCursor(text: string, length: number): (string | number)[] {
  try {
    const position: unknown = JSON.parse(Buffer.from(text, "base64url").toString());
    const isPart = (part: unknown): boolean => typeof part === "string" || typeof part === "number";
    if (Array.isArray(position) && position.length === length && position.every(isPart)) return position;
  } catch {
    // Falls through to the typed error: whatever is wrong with it, it is not ours.
  }
  throw new MillraceError("E_CURSOR", "after: not a cursor of this list; take it from the Link header of the page before");
}
