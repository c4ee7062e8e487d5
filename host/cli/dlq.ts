import { NodeClient, nodeUrl } from "./client.ts";
import type { ListOptions } from "./late.ts";
import { RowPrinter } from "./table.ts";

/** `millrace dlq`: lines that could not be taken, and why. */
export async function dlq({ url, stream, limit, json }: ListOptions): Promise<void> {
  const client = new NodeClient(nodeUrl(url));
  const printer = new RowPrinter(json === true);
  for await (const page of client.pages("/v1/dlq", { stream }, limit)) printer.print(page);
  printer.end("no line was set aside");
}
