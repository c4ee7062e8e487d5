import { NodeClient, nodeUrl } from "./client.ts";
import type { ListOptions } from "./late.ts";
import { RowPrinter } from "./table.ts";

/** `millrace losses`: the ledger of what was given up. */
export async function losses({ url, stream, limit, json }: ListOptions): Promise<void> {
  const client = new NodeClient(nodeUrl(url));
  const printer = new RowPrinter(json === true);
  for await (const page of client.pages("/v1/losses", { stream }, limit)) printer.print(page);
  printer.end("nothing was given up");
}
