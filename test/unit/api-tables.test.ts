import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess } from "../support/node-process.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const BASE = Date.UTC(2026, 0, 1);

function config(tables: string, head = ""): string {
  return `${head}
streams:
  machines: { key: device, watermark: { bound: 0s, maxAhead: 36500d }, lateness: 0s, fields: { temp: float } }
tables:
  ${tables}
queries:
  hot: { from: machines, where: temp > sites.limit, derive: { site: sites.site }, window: { tumbling: 10s }, by: [site], select: { n: count() } }
`;
}

async function start(
  context: TestContext,
  text: string,
  environment = {},
): Promise<[NodeProcess, HttpClient]> {
  const node = new NodeProcess({ config: text, environment }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  await node.start();
  return [node, client];
}

function put(client: HttpClient, body: string, headers = {}): ReturnType<HttpClient["request"]> {
  return client.request("PUT", "/v1/tables/sites", body, headers);
}

function event(second: number, device = "m1", temp = 50): object[] {
  return [{ device, ts: new Date(BASE + second * 1_000).toISOString(), temp }];
}

async function sitesOf(client: HttpClient): Promise<unknown[]> {
  const rows = await client.results("hot");
  return rows.map(({ window, key, values }) => [
    (Date.parse(window.start) - BASE) / 1_000,
    key.site,
    values.n,
  ]);
}

test("rows that are put hold for what comes, survive a restart, and cost no window", async (context) => {
  const [node, client] = await start(context, config("sites: { key: device }"));
  await client.send("machines", event(1));
  const rows =
    '[{"device":"m1","site":"Ulm","limit":40},{"device":"m2","site":null,"limit":90071992547409931}]';
  const answer = await put(client, rows);
  assert.equal(answer.status, 200, answer.text);
  assert.deepEqual(JSON.parse(answer.text), { table: "sites", rows: 2, version: 2 });
  await client.send("machines", event(2));
  assert.equal(
    (await put(client, "device,limit,site,floor\nm1,39.5,Jena,2\n", { "content-type": "text/csv" })).status,
    200,
  );
  await client.send("machines", event(3));
  await node.restart("SIGKILL");
  await client.send("machines", [...event(4), ...event(11)]);
  assert.deepEqual(await sitesOf(client), [
    [0, "Jena", 2],
    [0, "Ulm", 1],
  ]);
  assert.deepEqual(await client.json("/v1/tables"), {
    tables: [
      {
        table: "sites",
        key: "device",
        rows: 1,
        columns: [
          { name: "device", type: "string" },
          { name: "limit", type: "float" },
          { name: "site", type: "string" },
          { name: "floor", type: "int" },
        ],
      },
    ],
  });
});

test("what GET gives, PUT takes back, each integer with its digits", async (context) => {
  const [, client] = await start(context, config("sites: { key: device }"));
  const rows =
    '{"device":"m1","site":"a\\nb","limit":9007199254740993}\n{"device":"m2","site":null,"limit":-1}\n';
  assert.equal((await put(client, rows, { "content-type": "application/x-ndjson" })).status, 200);
  const shown = await client.request("GET", "/v1/tables/sites");
  assert.equal(shown.text, rows);
  assert.equal(shown.headers["content-type"], "application/x-ndjson");
  assert.equal((await put(client, shown.text)).status, 200);
  assert.equal((await client.request("GET", "/v1/tables/sites")).text, rows);
  assert.equal((await put(client, "[ ]")).status, 200);
  assert.equal((await client.request("GET", "/v1/tables/sites")).text, "");
});

test("rows that an expression does not fit are refused with its name and place, and change nothing", async (context) => {
  const [, client] = await start(context, config("sites: { key: device }"));
  const good = '[{"device":"m1","site":"Ulm","limit":40}]';
  assert.equal((await put(client, good)).status, 200);
  const before = await client.request("GET", "/v1/tables/sites");
  const refusals = [
    [
      '[{"device":"m1","site":"Ulm","limit":"forty"}]',
      422,
      /queries\.hot\.where.*character 6 of the expression/s,
    ],
    ['[{"device":"m1","limit":40}]', 422, /queries\.hot\.derive\.site.*no column site/s],
    ['[{"device":"m1","site":"a","limit":1},\n{"device":"m1"}]', 422, /"line":2.*stands in line 1 already/],
    ['[{"site":"a"}]', 422, /no column device/],
    ["[{", 422, /not JSON/],
  ] as const;
  for (const [body, status, message] of refusals) {
    const answer = await put(client, body);
    assert.equal(answer.status, status, body);
    assert.match(answer.text, message);
  }
  assert.equal((await put(client, good, { "content-type": "image/png" })).status, 415);
  assert.equal((await client.request("PUT", "/v1/tables/nowhere", good)).status, 404);
  assert.equal((await client.request("GET", "/v1/tables/nowhere")).status, 404);
  assert.deepEqual((await client.request("GET", "/v1/tables/sites")).text, before.text);
});

test("a table with a file is read again at a reload; PUT says so", async (context) => {
  const file = join(makeTempDir(context), "sites.csv");
  writeFileSync(file, "device,site,limit\nm1,Ulm,40\n");
  const text = config(`sites: { key: device, file: ${file} }`);
  const [node, client] = await start(context, text);
  await client.send("machines", event(1));
  const answer = await put(client, "[]");
  assert.equal(answer.status, 409);
  assert.match(answer.text, /sites\.csv/);
  writeFileSync(file, "limit,device,site\n30,m1,Jena\n");
  const reloaded = await client.request("PUT", "/v1/config", text);
  const { added, changed, tables } = JSON.parse(reloaded.text) as Record<string, unknown>;
  assert.deepEqual(
    { added, changed, tables },
    {
      added: [],
      changed: [],
      tables: { added: [], changed: ["sites"], removed: [] },
    },
  );
  await client.send("machines", event(2));
  // The file goes; what it was stays in the log.
  writeFileSync(file, "device,site,limit\nm1,Bonn,20\n");
  await node.restart("SIGKILL");
  await client.send("machines", [...event(3), ...event(12)]);
  assert.deepEqual(await sitesOf(client), [
    [0, "Bonn", 1],
    [0, "Jena", 1],
    [0, "Ulm", 1],
  ]);
});

test("with a token, only who has it may put rows", async (context) => {
  const [, client] = await start(
    context,
    config("sites: { key: device }", "http: { admin: { token: secret-1 } }"),
  );
  const rows = '[{"device":"m1","site":"Ulm","limit":40}]';
  assert.equal((await put(client, rows)).status, 401);
  assert.equal((await put(client, rows, { authorization: "Bearer secret-1" })).status, 200);
});

test("a configuration that does not fit rows that were put is refused, at a reload and at the start", async (context) => {
  const text = config("sites: { key: device }");
  const [node, client] = await start(context, text);
  assert.equal((await put(client, '[{"device":"m1","site":"Ulm","limit":40}]')).status, 200);
  const wrong = text.replace("temp > sites.limit", 'sites.limit == "x"');
  const refused = await client.request("PUT", "/v1/config", wrong);
  assert.equal(refused.status, 422);
  assert.match(refused.text, /a number is compared with a text/);
  const otherKey = await client.request(
    "PUT",
    "/v1/config",
    text.replace("key: device }\nqueries", "key: site }\nqueries"),
  );
  assert.equal(otherKey.status, 422, otherKey.text);
  await node.stop();
  writeFileSync(node.configFile, wrong);
  node.launch();
  assert.equal(await node.exited(), 1);
  assert.match(node.tail(), /does not fit rows that were put.*queries\.hot\.where/);
});
