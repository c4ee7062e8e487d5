import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { describeConfig } from "../../host/api/describe-config.ts";
import { parseConfig } from "../../host/config/load.ts";
import { REPOSITORY_ROOT } from "../support/node-process.ts";

const ENVIRONMENT = { PG_PASSWORD: "pw-of-postgres", S3_SECRET: "secret-of-s3" };

function problemOf(sync: string): string {
  const loaded = parseConfig(`sync: ${sync}\n`, "millrace.yaml");
  assert.ok(!loaded.ok, sync);
  const { message, fix } = loaded.problems[0]!;
  return `${message}; ${fix}`;
}

test("the configuration of docs/sinks.md is valid, is shown without its secrets, and can be read again", () => {
  const text = readFileSync(join(REPOSITORY_ROOT, "docs/sinks.md"), "utf8");
  const [, yaml = ""] = /^```yaml\n(.*?)^```/ms.exec(text) ?? [];
  const loaded = parseConfig(yaml, "sinks.yaml", {}, ENVIRONMENT);
  assert.ok(loaded.ok, loaded.ok ? "" : JSON.stringify(loaded.problems));
  const sinks = loaded.config.sync!.sinks;
  assert.deepEqual(
    sinks.map(({ name, target }) => [name, target.kind]),
    [
      ["archive", "file"],
      ["bus", "nats"],
      ["warehouse", "postgres"],
      ["lake", "s3"],
      ["log", "kafka"],
    ],
  );
  const shown = JSON.stringify(describeConfig(loaded.config));
  for (const secret of Object.values(ENVIRONMENT)) assert.ok(!shown.includes(secret), secret);
  const again = parseConfig(shown, "shown.json");
  assert.ok(again.ok, again.ok ? "" : JSON.stringify(again.problems));
  assert.deepEqual(
    again.config.sync!.sinks.map(({ delivery }) => delivery),
    sinks.map(({ delivery }) => delivery),
  );
});

test("what is wrong with a sink is said, and what to do", () => {
  assert.match(problemOf("{ }"), /must say where to; write url: .* or sinks/);
  assert.match(
    problemOf("{ sinks: { a: { streams: [x] } } }"),
    /must say where it is, once; write one of file/,
  );
  assert.match(problemOf("{ sinks: { a: { file: /a, nats: 'nats://h:1' } } }"), /must say where it is, once/);
  assert.match(problemOf("{ sinks: { hub: { file: /a } } }"), /must not be hub/);
  assert.match(
    problemOf("{ sinks: { a: { s3: { bucket: b1x, accessKey: a } } } }"),
    /`secretKey` is missing; add it/,
  );
  assert.match(problemOf("{ sinks: { a: { kafka: { brokers: [x], topic: t } } } }"), /must be HOST:PORT/);
});

test("a sink takes what sync says of deliveries, but for the line's share", () => {
  const loaded = parseConfig(
    "sync: { bandwidth: 10Mbps, batch: { events: 7 }, timeout: 9s, sinks: { a: { file: /a, batch: { every: 2s } } } }\n",
    "millrace.yaml",
  );
  assert.ok(loaded.ok);
  const { delivery } = loaded.config.sync!.sinks[0]!;
  assert.equal(delivery.bandwidth, null);
  assert.equal(delivery.timeoutMs, 9_000);
  assert.deepEqual(delivery.batch, { events: 7, bytes: 1024 ** 2, everyMs: 2_000 });
});
