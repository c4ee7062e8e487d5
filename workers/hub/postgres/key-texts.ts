import { splitObject } from "../../query/json-members.ts";
import { cleanText } from "./clean-text.ts";

const SPACE_OUTSIDE_STRINGS = /("(?:[^"\\]|\\.)*")|\s+/g;

/** The texts of a key's values, as a person writes them in a URL: each finds what has the key. `key` is JSON. */
export function keyTexts(key: string): string[] {
  const members = splitObject(key);
  const values = members === null ? elementsOf(key) : members.map(({ value }) => value);
  return values.flatMap((value) => {
    if (value === "null") return [];
    return [cleanText(value.startsWith('"') ? String(JSON.parse(value)) : value)];
  });
}

/** The whole key as it is stored, should the text be one with white space in it. */
export function wholeKey(text: string): string {
  try {
    JSON.parse(text);
    return cleanText(text.replace(SPACE_OUTSIDE_STRINGS, "$1"));
  } catch {
    return cleanText(text);
  }
}

/** Of an array, or a value by itself. Numbers stay as they are written. */
function elementsOf(json: string): string[] {
  const value: unknown = JSON.parse(json);
  if (!Array.isArray(value)) return [json.trim()];
  return value.map((element: unknown) => JSON.stringify(element));
}
