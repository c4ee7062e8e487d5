import { test } from "node:test";
import { casesAreMissing, runCase } from "../support/case-runner.ts";

const CASES = [
  "tumbling-basic",
  "tumbling-restart",
  "bounded-out-of-orderness",
  "aggregates",
  "late-within-lateness",
  "having-where-derive",
  "late-for-some-windows",
  "sliding-basic",
];

/** What the cases need that is not built yet. */
const NOT_YET: Readonly<Record<string, string>> = {
  "session-basic": "session windows",
  "session-bridge": "session windows",
};

for (const name of CASES) {
  test(`case ${name}`, { skip: casesAreMissing }, (context) => runCase(name, context));
}

for (const [name, feature] of Object.entries(NOT_YET)) {
  test(`case ${name}`, { todo: `${feature}: not supported yet`, skip: `${feature}: not supported yet` });
}
