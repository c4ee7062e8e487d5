import type { z } from "zod";
import { settingsAt } from "./json-schema.ts";
import type { Path, Places } from "./places.ts";
import { type Problem, splitFix } from "./problems.ts";
import { nearest } from "./suggest.ts";

type Issue = z.core.$ZodIssue;

/** Turns what the schema found into problems with a place and a fix. */
export function explainIssues(issues: readonly Issue[], file: string, places: Places): Problem[] {
  return issues.flatMap((issue) => explain(issue, file, places));
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
