import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { HttpClient } from "./http-client.ts";

/** What must be found nowhere in an encrypted data directory, by where it comes in. */
export const SECRETS = {
  device: "dev-qzxvkyj01",
  "field value": "val-wqjxzpk02",
  number: "731946285",
  "field name": "fieldzvqkxw03",
  "undeclared extra": "ext-kzqwvxj04",
  "dead letter": "bad-xqzkjwv05",
  "late event": "lat-jvxzqkw06",
  "idempotency key": "key-zkqxvjw07",
  "address of a webhook": "tok-vzxkqjw08",
  "text of a condition": "whe-qkzjxwv09",
  "text of a document": "doc-wxzqjkv10",
  "row of a table": "row-vkxqzwj11",
} as const;

export const HOUR_US = 3_600_000_000;

/** A node that keeps something in every table. */
export function secretConfig(encryption: string): string {
  return `${encryption}
checkpoint: { every: 10s }
streams:
  plant:
    key: device
    time: { field: ts, unit: s }
    fields: { device: string, ts: int, temp: int, note: string }
    watermark: { bound: 0s, maxAhead: 36500d }
    lateness: 0s
  open:
    key: device
    time: { field: ts, unit: s }
    watermark: { bound: 0s, maxAhead: 36500d }
queries:
  hot:
    from: plant
    derive: { site: places.site }
    where: note != "${SECRETS["text of a condition"]}"
    window: { tumbling: 10s }
    select: { n: count(), top: max(temp), last: last(note) }
tables:
  places: { file: places.csv, key: device }
alerts:
  overheated:
    from: hot
    when: top > 90
    notify: [{ webhook: "http://127.0.0.1:9/${SECRETS["address of a webhook"]}" }]
`;
}

/** Beside the configuration, before the node starts. */
export function writeSecretTable(configFile: string): void {
  const rows = `device,site\n${SECRETS.device},${SECRETS["row of a table"]}\n`;
  writeFileSync(join(dirname(configFile), "places.csv"), rows);
}

/** Bodies of one event, so that blocks are too small to be compressed: a look for texts then finds them. */
export async function sendSecrets(client: HttpClient, fromSecond: number): Promise<void> {
  const { device } = SECRETS;
  const send = (stream: string, event: object, idempotencyKey?: string): Promise<unknown> =>
    client.send(stream, [event], idempotencyKey === undefined ? {} : { idempotencyKey });
  const plain = { device, ts: fromSecond, temp: 95, note: SECRETS["field value"] };
  await send("plant", plain, `${SECRETS["idempotency key"]}-${fromSecond}`);
  await send("plant", { ...plain, temp: Number(SECRETS.number), more: SECRETS["undeclared extra"] });
  await send("plant", { ...plain, ts: fromSecond + 100, temp: 1 });
  await send("plant", { ...plain, ts: fromSecond, note: SECRETS["late event"] });
  const bad = await client.request("POST", "/v1/streams/plant/events", `{"${SECRETS["dead letter"]}\n`, {
    "content-type": "application/x-ndjson",
  });
  assert.ok(bad.status < 500, bad.text);
  await send("open", { device, ts: fromSecond, [SECRETS["field name"]]: 1 });
}

export async function putSecretDocument(client: HttpClient): Promise<void> {
  const document = `${secretConfig("")}# ${SECRETS["text of a document"]}\n`;
  const answer = await client.request("PUT", "/v1/config", document);
  assert.equal(answer.status, 200, answer.text);
}

/** The names of the secrets that some file of the folder has in the plain. */
export function findSecrets(dir: string): string[] {
  const found = findTexts(dir, Object.values(SECRETS));
  return Object.entries(SECRETS)
    .filter(([, text]) => found.includes(text))
    .map(([name]) => name);
}

/** Those of the texts that stand in some file of the folder. */
export function findTexts(dir: string, texts: readonly string[]): string[] {
  const files = readdirSync(dir).map((file) => readFileSync(join(dir, file)));
  return texts.filter((text) => files.some((bytes) => bytes.includes(text)));
}

/** Every file's bytes, by name. */
export function snapshotOf(dir: string): ReadonlyMap<string, string> {
  return new Map(readdirSync(dir).map((file) => [file, readFileSync(join(dir, file)).toString("base64")]));
}
