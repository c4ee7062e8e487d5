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
  "session-basic",
  "session-bridge",
];

for (const name of CASES) {
  test(`case ${name}`, { skip: casesAreMissing }, (context) => runCase(name, context));
}
