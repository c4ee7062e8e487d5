import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, get, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { type TestContext, test } from "node:test";
import { getRequestListener, type HttpBindings } from "@hono/node-server";
import { Hono } from "hono";
import { pageResponse } from "../../host/api/page-response.ts";
import { Random } from "../support/random.ts";

/** Serves pages of these sizes by number, over real connections. */
async function serve(context: TestContext, sizes: readonly number[]) {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const pages = sizes.map((size) => Uint8Array.from({ length: size }, () => random.integer(0, 255)));
  const expected = pages.map((page) => page.slice());
  const app = new Hono<{ Bindings: HttpBindings }>();
  app.get("/:number", (each) =>
    pageResponse(each, { ndjson: pages[Number(each.req.param("number"))]!, next: "n" }),
  );
  const server = createServer(getRequestListener(app.fetch));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { app, pages, expected, url: `http://127.0.0.1:${port}` };
}

test("a page of any size arrives whole, and its memory is given back once it has gone", async (context) => {
  const sizes = [0, 1, 128 * 1024, 128 * 1024 + 1, 5_000_000];
  const { pages, expected, url } = await serve(context, sizes);
  for (const [index] of sizes.entries()) {
    const response = await fetch(`${url}/${index}`);
    assert.equal(response.headers.get("link"), `</${index}?after=n>; rel="next"`);
    assert.ok(expected[index]!.every((byte, at) => byte === pages[index]![at] || pages[index]!.length === 0));
    const bytes = Buffer.from(await response.arrayBuffer());
    assert.ok(bytes.equals(expected[index]!), `${sizes[index]} bytes`);
    while (pages[index]!.buffer.byteLength > 0) await new Promise((resolve) => setTimeout(resolve, 1));
  }
});

test("a page whose reader goes away keeps its memory until nothing can read it, and others are served", async (context) => {
  const { pages, expected, url } = await serve(context, [32_000_000, 300_000]);
  const request = get(`${url}/0`);
  request.on("error", () => undefined);
  const [response] = (await once(request, "response")) as [IncomingMessage];
  await once(response, "data");
  response.destroy();
  const other = Buffer.from(await (await fetch(`${url}/1`)).arrayBuffer());
  assert.ok(other.equals(expected[1]!));
  assert.equal(pages[0]!.length, 32_000_000);
});

test("asked without a connection, as tests of the app do, a page comes all the same", async (context) => {
  const { app, expected } = await serve(context, [1_000, 300_000]);
  for (const [index, bytes] of expected.entries()) {
    const response = await app.request(`/${index}`);
    assert.ok(Buffer.from(await response.arrayBuffer()).equals(bytes));
  }
});
