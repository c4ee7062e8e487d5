import { Gauge, type Registry } from "prom-client";
import type { RemoteConfigStatus } from "../remote/remote-config.ts";

/** Numbers of a node whose configuration is the hub's. */
export function registerRemoteConfig(registry: Registry, status: () => RemoteConfigStatus | null): void {
  const registers = [registry];
  new Gauge({
    name: "millrace_remote_config_version",
    help: "The hub's version in force; 0: none",
    registers,
    collect() {
      this.set(status()?.inForce?.version ?? 0);
    },
  });
  new Gauge({
    name: "millrace_remote_config_versions",
    help: "Versions of the hub since the start, by what came of them",
    labelNames: ["outcome"] as const,
    registers,
    collect() {
      const now = status();
      this.set({ outcome: "applied" }, now?.applied ?? 0);
      this.set({ outcome: "refused" }, now?.refused ?? 0);
      this.set({ outcome: "rolled-back" }, now?.rolledBack ?? 0);
    },
  });
  new Gauge({
    name: "millrace_remote_config_poll_seconds",
    help: "When the hub last answered for the configuration",
    registers,
    collect() {
      this.set((status()?.lastPollUs ?? 0) / 1e6);
    },
  });
}
