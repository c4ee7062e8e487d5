import type { Config } from "../config/config.ts";

/** A node's name at its hub. A host's name may have letters that no edge's has. */
export function edgeName({ node }: Pick<Config, "node">): string {
  return node.id.replaceAll(/[^A-Za-z0-9_.-]/g, "-").slice(0, 128);
}
