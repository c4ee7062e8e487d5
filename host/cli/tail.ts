import { CommandError, NodeClient, nodeUrl } from "./client.ts";
import { followQueries } from "./follow.ts";
import { EXIT } from "./output.ts";
import { RowPrinter } from "./table.ts";

interface TailOptions {
  readonly url?: string;
  readonly json?: true;
}

/** `millrace tail STREAM|QUERY`: prints results as windows fire; for a stream, those of all its queries. */
export async function tail(name: string, options: TailOptions): Promise<void> {
  const client = new NodeClient(nodeUrl(options.url));
  const { queries } = (await client.json("/v1/queries")) as {
    queries: readonly { readonly query: string; readonly from: string }[];
  };
  const isQuery = queries.some(({ query }) => query === name);
  const names = isQuery ? [name] : queries.filter(({ from }) => from === name).map(({ query }) => query);
  if (names.length === 0) {
    const known =
      queries.length === 0
        ? "there is none yet"
        : `there are ${queries.map(({ query }) => query).join(", ")}`;
    throw new CommandError(EXIT.failed, `no query is named ${name} or reads a stream of that name; ${known}`);
  }
  await followQueries(client, names, new RowPrinter(options.json === true));
}
