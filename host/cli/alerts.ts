import { NodeClient, nodeUrl } from "./client.ts";
import { RowPrinter } from "./table.ts";

export interface AlertsOptions {
  readonly url?: string;
  readonly alert?: string;
  readonly state?: string;
  readonly from?: string;
  readonly to?: string;
  readonly key?: string;
  readonly revisions?: string;
  readonly limit?: number;
  readonly json?: true;
}

/** `millrace alerts`: alerts and how they stand. */
export async function alerts({ url, limit, json, ...filter }: AlertsOptions): Promise<void> {
  const client = new NodeClient(nodeUrl(url));
  const printer = new RowPrinter(json === true);
  for await (const page of client.pages("/v1/alerts", { ...filter }, limit)) printer.print(page);
  printer.end("no alert");
}
