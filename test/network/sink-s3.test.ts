import assert from "node:assert/strict";
import { test } from "node:test";
import { AwsClient } from "aws4fetch";
import { parquetReadObjects } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { ChaosProxy } from "../support/chaos-proxy.ts";
import { Random } from "../support/random.ts";
import { S3Server } from "../support/s3-server.ts";
import { newest, SinkEdge, type SinkRows } from "../support/sink-fixture.ts";

type Row = Record<string, unknown>;

async function names(client: AwsClient, server: S3Server): Promise<string[]> {
  const found: string[] = [];
  for (let marker = ""; ; marker = found.at(-1)!) {
    const response = await client.fetch(
      `${server.url}/${server.bucket}?marker=${encodeURIComponent(marker)}`,
    );
    const page = [...(await response.text()).matchAll(/<Key>([^<]*)<\/Key>/g)].map(([, key = ""]) => key);
    if (page.length === 0) return found;
    found.push(...page);
  }
}

function plain(value: unknown): unknown {
  if (value instanceof Date) return value.toISOString();
  return typeof value === "bigint" ? Number(value) : value;
}

async function contents(server: S3Server): Promise<SinkRows & { names: string[] }> {
  const client = new AwsClient({
    accessKeyId: server.accessKey,
    secretAccessKey: server.secretKey,
    service: "s3",
  });
  const rows: Record<string, Row[]> = { events: [], results: [], alerts: [] };
  const objects = await names(client, server);
  for (const name of objects) {
    const response = await client.fetch(`${server.url}/${server.bucket}/${name}`);
    const file = await response.arrayBuffer();
    const read = (await parquetReadObjects({ file, compressors })) as Row[];
    rows[name.split("/")[1]!]?.push(...read);
  }
  const json = (text: unknown): unknown =>
    text === null || text === undefined ? null : JSON.parse(String(text));
  const given = (row: Row): Row =>
    Object.fromEntries(
      Object.entries(row).flatMap(([name, value]) => (value == null ? [] : [[name, plain(value)]])),
    );
  return {
    names: objects,
    events: rows.events!.map(({ extra, "at.row": row, ...event }) => ({
      ...given(event),
      ...(row == null ? {} : { at: { row: plain(row) } }),
      ...(json(extra) as object | null),
    })),
    results: rows.results!.map((row) => ({
      ...given(row),
      window: { start: plain(row.window_start), end: plain(row.window_end) },
      key: json(row.key),
      values: json(row.values),
    })),
    alerts: rows.alerts!.map((row) => ({ ...given(row), key: json(row.key), value: json(row.value) })),
  };
}

test("objects in Parquet hold what the edge holds, over cut lines, kills of the edge and outages of the server", async (context) => {
  const server = await S3Server.start(context);
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const proxy = await ChaosProxy.start(
    () => server.url,
    random,
    context,
    () =>
      random.pick([
        "pass",
        "pass",
        "cut-request",
        "cut-answer",
        "delay",
        "answer-500",
        "answer-429",
        "answer-200",
      ]),
  );
  const target = `endpoint: "${proxy.url}", bucket: ${server.bucket}, prefix: plant, accessKey: S3RVER, secretKey: S3RVER`;
  const edge = new SinkEdge(`s3: { ${target} }`, context);
  await edge.node.start();
  for (let round = 0; round < 4; round++) {
    await edge.send(4);
    proxy.cut();
    if (round === 1) await server.stop();
    await edge.send(2);
    if (round === 1) await server.start();
    if (round === 2) await edge.node.restart("SIGKILL");
  }
  await edge.end();
  const held = await contents(server);
  const rows = await edge.assertHolds(newest(held));
  assert.ok(rows > 4_800, `${rows} rows were compared`);
  const place =
    /^plant\/events\/stream=machines\/date=\d{4}-\d\d-\d\d\/hour=\d\d\/press-1-[0-9a-f]{40}\.parquet$/;
  assert.ok(
    held.names.some((name) => place.test(name)),
    held.names[0],
  );
  await edge.node.stop();
});

test("a bucket that is not there and a wrong key park nothing, and are named", async (context) => {
  const server = await S3Server.start(context);
  for (const [settings, expected] of [
    ["bucket: nowhere, accessKey: S3RVER, secretKey: S3RVER", /NoSuchBucket/],
    ["bucket: lake, accessKey: unknown, secretKey: not-the-key", /InvalidAccessKeyId/],
  ] as const) {
    const edge = new SinkEdge(`s3: { endpoint: "${server.url}", ${settings} }`, context);
    await edge.node.start();
    await edge.send(1);
    await edge.failsFor(expected);
    assert.equal(await edge.parked(), 0);
    assert.doesNotMatch((await edge.client.request("GET", "/v1/config")).text, /not-the-key/);
    await edge.node.stop();
  }
});
