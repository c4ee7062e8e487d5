import { test } from "node:test";
import { casesAreMissing, runCase } from "../support/case-runner.ts";
import { Random } from "../support/random.ts";

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
  for (const ingestWorkers of [1, 2, 3]) {
    const title = `case ${name}, events one by one in another order, ${ingestWorkers} ingest workers`;
    test(title, { skip: casesAreMissing }, (context) => {
      const shuffle = Random.fromEnvironment();
      context.diagnostic(`seed ${shuffle.seed}`);
      return runCase(name, context, { ingestWorkers, shuffle });
    });
  }
}
