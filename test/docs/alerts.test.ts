import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { schemas } from "../../host/api/schemas.ts";
import { eventually, startHook } from "../support/hook.ts";
import { HttpClient } from "../support/http-client.ts";
import { NodeProcess, REPOSITORY_ROOT } from "../support/node-process.ts";

const page = readFileSync(join(REPOSITORY_ROOT, "docs/alerts.md"), "utf8");

function blocks(language: string): string[] {
  return [...page.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, "gms"))].map(
    ([, text = ""]) => text,
  );
}

/** Ids are left out in the document. */
const withoutIds = (text: string): string => text.replace(/"id":"[^"]*"/g, '"id":"…"');

test("the examples of docs/alerts.md give what stands behind them, and the receiver is told", async (context) => {
  const hook = await startHook(context);
  const config = blocks("yaml")[0]!.replace("http://127.0.0.1:9000/hook", hook.url);
  const node = new NodeProcess({ config }, context);
  await node.start();
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  const alerts = async (parameters: string): Promise<string> =>
    (await fetch(`${node.url}/v1/alerts?${parameters}`)).text();
  const [events = "", late = ""] = blocks("json");
  const [steps = "", correction = ""] = blocks("ndjson");
  const live = await fetch(`${node.url}/v1/alerts/live`);
  const parse = (text: string): object[] =>
    text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as object);
  for (const event of parse(events)) await client.send("machines", [event]);
  const all = await alerts("revisions=all");
  assert.equal(withoutIds(all), steps);
  for (const row of parse(all)) schemas.Alert.parse(row);
  await client.send("machines", parse(late));
  const revised = await alerts("revisions=all&alert=too_hot");
  assert.equal(withoutIds(revised).split("\n")[3], correction.trimEnd());
  assert.equal(withoutIds(await alerts("alert=too_hot&state=resolved")), correction);
  await eventually(() => hook.posts.length === 3, "webhooks");
  const told = hook.posts.map(({ body }) => body);
  assert.deepEqual(told, revised.trimEnd().split("\n").slice(1));
  const fed = await readEvents(live, 6);
  assert.deepEqual([...fed].sort(), (await alerts("revisions=all")).trimEnd().split("\n").sort());
  const status = schemas.Status.parse(await client.json("/v1/status"));
  assert.deepEqual(
    status.alerts.map(({ alert, pending, firing }) => [alert, pending, firing]),
    [
      ["too_hot", 0, 0],
      ["broken", 0, 0],
    ],
  );
  assert.equal(status.webhooks.delivered, 3);
  const metrics = await (await fetch(`${node.url}/metrics`)).text();
  assert.match(metrics, /millrace_alert_firing\{alert="too_hot"\} 0/);
  assert.match(metrics, /millrace_webhooks_total\{outcome="delivered"\} 3/);
  const refused = await fetch(`${node.url}/v1/alerts?state=hot`);
  assert.deepEqual(
    [refused.status, ((await refused.json()) as { detail: string }).detail],
    [400, 'state: "hot" is not one of pending, firing, resolved'],
  );
  await node.stop();
});

async function readEvents(feed: Response, count: number): Promise<string[]> {
  const events: string[] = [];
  let text = "";
  for await (const chunk of feed.body!) {
    text += Buffer.from(chunk).toString();
    const parts = text.split("\n\n");
    text = parts.pop() ?? "";
    for (const part of parts) {
      const data = part.split("\n").find((line) => line.startsWith("data: "));
      if (data !== undefined) events.push(data.slice(6));
    }
    if (events.length >= count) break;
  }
  return events;
}
