import { NodeClient, nodeUrl } from "./client.ts";
import { EXIT, finish, print, warn } from "./output.ts";
import { formatCount } from "./progress.ts";
import { RowPrinter } from "./table.ts";

export interface ListOptions {
  readonly url?: string;
  readonly stream?: string;
  readonly limit?: number;
  readonly json?: true;
}

interface LateOptions extends ListOptions {
  readonly apply?: true;
  readonly clockSkew?: true;
}

/** What `POST …/late/apply` answers. */
interface Applied {
  readonly applied: number;
  readonly revisions: number;
  readonly waiting: number;
  readonly unreadable: number;
  readonly refused: readonly { readonly query: string; readonly reason: string }[];
  readonly next: number | null;
}

/** `millrace late STREAM`: events that came too late for their window, or from a clock that is ahead. */
export async function late(stream: string, options: LateOptions): Promise<void> {
  const { url, limit, json } = options;
  const client = new NodeClient(nodeUrl(url));
  const path = `/v1/streams/${encodeURIComponent(stream)}/late`;
  if (options.apply) return applyLate(client, `${path}/apply`, options);
  const printer = new RowPrinter(json === true);
  for await (const page of client.pages(path, {}, limit)) printer.print(page);
  printer.end("no late events");
}

/** `millrace late STREAM --apply`: corrects their windows, part by part. */
async function applyLate(client: NodeClient, path: string, { clockSkew, json }: LateOptions): Promise<void> {
  const total = { applied: 0, revisions: 0, waiting: 0, unreadable: 0 };
  let refused: Applied["refused"] = [];
  let after: number | null = null;
  do {
    const body: object = { clockSkew: clockSkew === true, ...(after === null ? {} : { after }) };
    const answer = (await client.post(path, body)) as Applied;
    for (const name of ["applied", "revisions", "waiting", "unreadable"] as const)
      total[name] += answer[name];
    refused = answer.refused;
    after = answer.next;
  } while (after !== null);
  if (json) print(JSON.stringify({ ...total, refused }));
  else {
    const { applied, revisions, waiting, unreadable } = total;
    print(`${formatCount(applied)} late events applied, ${formatCount(revisions)} results revised`);
    if (waiting > 0) warn(`${formatCount(waiting)} events wait: some of their windows are still open`);
    if (unreadable > 0) warn(`${formatCount(unreadable)} events left alone: stored events cannot be read`);
    for (const { query, reason } of refused) warn(`query ${query} was left alone: ${reason}`);
  }
  if (total.unreadable > 0 || refused.length > 0) finish(EXIT.failed);
}
