import { CommandError, NodeClient, nodeUrl } from "./client.ts";
import { followQueries } from "./follow.ts";
import { EXIT } from "./output.ts";
import { RowPrinter } from "./table.ts";

export interface QueryOptions {
  readonly url?: string;
  readonly from?: string;
  readonly to?: string;
  readonly key?: string;
  readonly kind?: string;
  readonly revisions?: string;
  readonly limit?: number;
  readonly json?: true;
  readonly follow?: true;
}

/** `millrace query [NAME]`: a query's results; without a name, the queries there are. */
export async function query(name: string | undefined, options: QueryOptions): Promise<void> {
  const client = new NodeClient(nodeUrl(options.url));
  const printer = new RowPrinter(options.json === true);
  if (name === undefined) {
    if (options.follow) throw new CommandError(EXIT.usage, "--follow needs a query's name");
    return listQueries(client, printer);
  }
  if (!options.follow) {
    for await (const page of history(client, name, options)) printer.print(page);
    return printer.end("no results yet: a window's result is there when the watermark passes its end");
  }
  await followQueries(client, [name], printer, () => history(client, name, options));
}

function history(client: NodeClient, name: string, options: QueryOptions): AsyncIterable<readonly string[]> {
  const { from, to, key, kind, revisions, limit } = options;
  const path = `/v1/queries/${encodeURIComponent(name)}/results`;
  return client.pages(path, { from, to, key, kind, revisions }, limit);
}

async function listQueries(client: NodeClient, printer: RowPrinter): Promise<void> {
  const { queries } = (await client.json("/v1/queries")) as { queries: readonly object[] };
  printer.print(queries.map((entry) => JSON.stringify(entry)));
  printer.end("there are no queries yet: a stream gets one with its first event");
}
