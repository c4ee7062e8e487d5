import { setTimeout as sleep } from "node:timers/promises";
import type { AuditRow, AuditSum } from "../api/audit-rows.ts";
import { type AuditFinding, type AuditReport, compareAudits } from "./audit-compare.ts";
import { CommandError, NodeClient, nodeUrl } from "./client.ts";
import { escapeControls } from "./escape.ts";
import { EXIT, finish, print, warn } from "./output.ts";

export interface AuditOptions {
  readonly hub: string;
  readonly url?: string;
  readonly stream?: string;
  readonly from?: string;
  readonly to?: string;
  readonly json?: boolean;
}

/** What moves is looked at again: events that have just been taken are booked within moments. */
const LOOKS = 5;
const LOOK_AGAIN_MS = 1_000;

/** `millrace audit`: compares a node's books with what its hub holds, and names what differs. */
export async function audit({ hub, url, stream, from, to, json }: AuditOptions): Promise<void> {
  const edge = new NodeClient(nodeUrl(url));
  const there = new NodeClient(nodeUrl(hub));
  const range = { stream, from, to };
  for (let look = 1; ; look++) {
    const report = await compare(edge, there, range);
    const isMoving = report.findings.some(({ verdict }) => verdict === "moving");
    if (isMoving && look < LOOKS) {
      await sleep(LOOK_AGAIN_MS);
      continue;
    }
    if (json === true) print(JSON.stringify(report));
    else tell(report);
    if (report.findings.some(differs) || report.unreadable > 0) finish(EXIT.failed);
    return;
  }
}

type Range = Readonly<Record<"stream" | "from" | "to", string | undefined>>;

async function compare(
  edge: NodeClient,
  hub: NodeClient,
  range: Range,
): Promise<AuditReport & { readonly unreadable: number }> {
  const before = await rowsOf<AuditRow>(await edge.get(pathOf(range)));
  // A node knows its own name even when it has sent nothing yet.
  const name = before.rows[0]?.edge ?? (await nameOf(edge));
  const there = await rowsOf<AuditSum>(await hub.get(pathOf({ ...range, edge: name })));
  const after = await rowsOf<AuditRow>(await edge.get(pathOf(range)));
  return { ...compareAudits(before.rows, there.rows, after.rows), unreadable: there.unreadable };
}

async function rowsOf<Row>(
  response: Response,
): Promise<{ readonly rows: Row[]; readonly unreadable: number }> {
  const lines = (await response.text()).split("\n").filter((line) => line !== "");
  const unreadable = Number(response.headers.get("millrace-unreadable-blocks") ?? 0);
  return { rows: lines.map((line) => JSON.parse(line) as Row), unreadable };
}

async function nameOf(edge: NodeClient): Promise<string> {
  const status = (await edge.json("/v1/status")) as { readonly node?: { readonly id?: string } };
  const id = status.node?.id;
  if (id === undefined) throw new CommandError(EXIT.failed, `${edge.url} does not say which node it is`);
  return id;
}

function pathOf(parameters: Range & { readonly edge?: string }): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) if (value !== undefined) search.set(name, value);
  return search.size === 0 ? "/v1/audit" : `/v1/audit?${search}`;
}

function differs({ verdict }: AuditFinding): boolean {
  return verdict !== "moving";
}

function tell({
  equalHours,
  equalEvents,
  expiredEvents,
  counted,
  findings,
  others,
  unreadable,
}: AuditReport & { unreadable: number }): void {
  for (const { stream, kind, hour, atEdge, atHub, verdict } of findings) {
    const counts = `edge ${atEdge}, hub ${atHub}`;
    print(escapeControls(`${stream}  ${hour}  ${kind}  ${verdict}: ${counts}`));
  }
  if (unreadable > 0)
    print(`${unreadable} blocks at the hub cannot be read; its log and the hours above say which`);
  for (const { incarnation, count } of others)
    warn(`the hub also has ${count} events of data directory ${incarnation} of this edge`);
  for (const { reason, hours, events } of counted)
    warn(`${hours} hours with ${events} events were compared by their counts alone: ${reason}`);
  if (expiredEvents > 0) warn(`${expiredEvents} of these events went at the hub by its retention`);
  const differing = findings.filter(differs).length;
  const moving = findings.length - differing;
  const rest = moving === 0 ? "" : `, ${moving} still moving`;
  print(`${equalHours} hours with ${equalEvents} events are the same, ${differing} differ${rest}`);
}
