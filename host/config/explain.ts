import type { z } from "zod";
import { settingsAt } from "./json-schema.ts";
import type { Path, Places } from "./places.ts";
import { type Problem, splitFix } from "./problems.ts";
import { nearest } from "./suggest.ts";

type Issue = z.core.$ZodIssue;

/** Settings that the surface promises and this release does not have: naming them is no typing mistake. */
const LATER: Readonly<Record<string, readonly string[]>> = {
  "": ["sync"],
};

/** Turns what the schema found into problems with a place and a fix. */
export function explainIssues(issues: readonly Issue[], file: string, places: Places): Problem[] {
  const later = issues.flatMap((issue) =>
    issue.code === "unrecognized_keys" && issue.keys.some((key) => isLater(issue.path, key))
      ? [issue.path.join(".")]
      : [],
  );
  return issues
    .filter((issue) => !isMissing(issue) || !later.includes(issue.path.slice(0, -1).join(".")))
    .flatMap((issue) => explain(issue, file, places));
}

function explain(issue: Issue, file: string, places: Places): Problem[] {
  const path = issue.path.join(".");
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => {
      const at = [...issue.path, key];
      return { file, ...places.ofKey(at), path: at.join("."), ...explainUnknown(issue.path, key) };
    });
  }
  if (issue.code === "invalid_key") {
    const { message, fix } = splitFix(issue.issues[0]?.message ?? issue.message);
    return [{ file, ...places.ofKey(issue.path), path, message: `this name ${message}`, fix }];
  }
  const column =
    issue.code === "custom" && typeof issue.params?.column === "number" ? issue.params.column : 0;
  return [{ file, ...places.ofValue(issue.path, column), path, ...splitFix(describe(issue)) }];
}

function explainUnknown(path: Path, key: string): { message: string; fix: string } {
  if (isLater(path, key)) return { message: `\`${key}\` is not supported by this release`, fix: "remove it" };
  const known = settingsAt(path);
  const hint = nearest(key, known);
  const fix = hint === null ? `the settings here are ${known.join(", ")}` : `did you mean \`${hint}\`?`;
  return { message: `there is no setting \`${key}\` here`, fix };
}

/** The library's own words are for programmers; these are for whoever writes the file. */
function describe(issue: Issue): string {
  if (isMissing(issue)) return `\`${String(issue.path.at(-1))}\` is missing; add it`;
  if (issue.code !== "invalid_type" || !issue.message.startsWith("Invalid input")) return issue.message;
  const form =
    issue.expected === "record" || issue.expected === "object" ? "a map of settings" : FORMS[issue.expected];
  return `must be ${form ?? issue.expected}`;
}

const FORMS: Readonly<Record<string, string>> = {
  array: "a list; write it like [device]",
  string: "a text",
  boolean: "true or false",
};

function isMissing(issue: Issue): boolean {
  const isOfType = issue.code === "invalid_type" || issue.code === "invalid_union";
  return isOfType && issue.input === undefined;
}

function isLater(path: Path, key: string): boolean {
  const isQuery = path[0] === "queries" && path.length === 2;
  const isWindow = path[0] === "queries" && path.length === 3 && path[2] === "window";
  const place = isQuery ? "query" : isWindow ? "window" : path.join(".");
  return LATER[place]?.includes(key) ?? false;
}
