import { NodeClient, nodeUrl } from "./client.ts";
import { RowPrinter } from "./table.ts";

export interface ListOptions {
  readonly url?: string;
  readonly stream?: string;
  readonly limit?: number;
  readonly json?: true;
}

/** `millrace late STREAM`: events that came too late for their window, or from a clock that is ahead. */
export async function late(stream: string, { url, limit, json }: ListOptions): Promise<void> {
  const client = new NodeClient(nodeUrl(url));
  const printer = new RowPrinter(json === true);
  const path = `/v1/streams/${encodeURIComponent(stream)}/late`;
  for await (const page of client.pages(path, {}, limit)) printer.print(page);
  printer.end("no late events");
}
