import type { TestContext } from "node:test";
import { HttpClient } from "./http-client.ts";
import { type NodeProcess, spawnNode } from "./node-process.ts";

export interface FieldNode {
  readonly node: NodeProcess;
  readonly client: HttpClient;
}

/** A real node with a configuration (null: none), and a client of it. */
export async function startFieldNode(config: string | null, context: TestContext): Promise<FieldNode> {
  const node = await spawnNode({ config }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  return { node, client };
}
