import { createServer } from "node:http";
import { BATCH_VERSION, BATCH_VERSION_HEADER } from "../../workers/sync/batch-version.ts";
import { receiveOptions, report } from "./child.ts";

/** In the place of a hub: takes every batch and does nothing with it, so that what an edge spends is the edge's own. */
export interface AnsweringHubReady {
  readonly url: string;
}

await receiveOptions();
const server = createServer((request, response) => {
  request.resume();
  request.on("end", () =>
    response
      .writeHead(200, { [BATCH_VERSION_HEADER]: String(BATCH_VERSION) })
      .end('{"stored":1,"duplicate":false}'),
  );
});
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  const port = address === null || typeof address === "string" ? 0 : address.port;
  void report({ url: `http://127.0.0.1:${port}` } satisfies AnsweringHubReady);
});
