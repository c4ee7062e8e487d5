import { Gauge, type Registry } from "prom-client";
import { rowCount } from "../config/table/stored.ts";
import type { Engine } from "../pipeline/engine.ts";
import type { Reloader } from "../pipeline/reloader.ts";

export function registerReloads(
  registers: Registry[],
  engine: Engine,
  reloader: Pick<Reloader, "applied" | "refused"> | undefined,
): void {
  new Gauge({
    name: "millrace_config_version",
    help: "Version of the configuration in force; one more with each change",
    registers,
    collect() {
      this.set(engine.status().configVersion);
    },
  });
  new Gauge({
    name: "millrace_config_reloads",
    help: "Changes of the configuration since the start, by what came of them",
    labelNames: ["outcome"] as const,
    registers,
    collect() {
      this.set({ outcome: "applied" }, reloader?.applied ?? 0);
      this.set({ outcome: "refused" }, reloader?.refused ?? 0);
    },
  });
  new Gauge({
    name: "millrace_table_rows",
    help: "Rows of a reference table (limit: maxTable, in bytes of its file or body)",
    labelNames: ["table"] as const,
    registers,
    collect() {
      this.reset();
      for (const { name, data } of engine.config().tables?.values() ?? [])
        this.set({ table: name }, rowCount(data));
    },
  });
  new Gauge({
    name: "millrace_backfill_blocks_left",
    help: "Stored blocks that a query with backfill has yet to read before it is live",
    labelNames: ["query"] as const,
    registers,
    collect() {
      this.reset();
      for (const { config, backfill } of engine.queries()) {
        if (backfill !== null) this.set({ query: config.name }, backfill.totalBlocks - backfill.blocks);
      }
    },
  });
}
