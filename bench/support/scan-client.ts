import { setPriority } from "node:os";
import { receiveOptions, report } from "./child.ts";

/**
 * A process that reads a stream from its beginning, page by page, again and again. It would be on another machine, so it
 * gives way to all else on this one.
 */
export interface ScanOptions {
  readonly url: string;
  readonly path: string;
}

export interface ScanMessage {
  readonly bytes: number;
}

setPriority(19);
const { url, path: first } = await receiveOptions<ScanOptions>();
let path = first;
let bytes = 0;
let isStopped = false;
process.on("message", () => {
  isStopped = true;
});
while (!isStopped) {
  const response = await fetch(new URL(path, url));
  for await (const chunk of response.body ?? []) bytes += chunk.length;
  path = /<([^>]+)>; rel="next"/.exec(response.headers.get("link") ?? "")?.[1] ?? first;
}
await report({ bytes } satisfies ScanMessage);
process.disconnect();
