import { NodeClient, nodeUrl } from "./client.ts";
import type { ListOptions } from "./late.ts";
import { RowPrinter } from "./table.ts";

const DEFAULT_DEVICES = 1_000;

/** `millrace clocks STREAM`: how far the devices' clocks are ahead of the node's, the furthest first. */
export async function clocks(stream: string, { url, limit, json }: ListOptions): Promise<void> {
  const client = new NodeClient(nodeUrl(url));
  const path = `/v1/streams/${encodeURIComponent(stream)}/clocks?limit=${limit ?? DEFAULT_DEVICES}`;
  const { devices } = (await client.json(path)) as { readonly devices: readonly object[] };
  const printer = new RowPrinter(json === true);
  printer.print(devices.map((device) => JSON.stringify(device)));
  printer.end("no device has sent anything yet");
}
