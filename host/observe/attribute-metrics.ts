import { Counter, Gauge, type Registry } from "prom-client";
import type { DeviceRegistry } from "../attributes/device-registry.ts";
import type { Sync } from "../sync/sync.ts";

/** Numbers of devices' attributes and of their clock, asked at each scrape. */
export function registerAttributes(
  registry: Registry,
  devices: Pick<DeviceRegistry, "report" | "refused">,
  sync: Pick<Sync, "news"> | null,
): void {
  const registers = [registry];
  const count = new Gauge({
    name: "millrace_attributes",
    help: "Attributes of devices (limits: maxDevices, maxDeviceAttributes)",
    registers,
  });
  const ahead = new Gauge({
    name: "millrace_attribute_clock_ahead_seconds",
    help: "The hybrid clock's physical part less the node's own clock: above 0 when that was put back",
    registers,
  });
  const restamped = new Gauge({
    name: "millrace_attributes_restamped",
    help: "Attributes stamped anew since the start, as the hub would not have had them",
    registers,
  });
  new Gauge({
    name: "millrace_attribute_devices",
    help: "Devices that have attributes (limit: maxDevices)",
    registers,
    async collect() {
      const report = await devices.report();
      this.set(report.devices);
      count.set(report.attributes);
      ahead.set(Math.max(0, report.aheadMs / 1_000));
      restamped.set(report.restamped);
    },
  });
  new Counter({
    name: "millrace_attributes_refused_total",
    help: "Requests refused as they would pass maxDevices or maxDeviceAttributes",
    registers,
    collect() {
      this.reset();
      this.inc(devices.refused);
    },
  });
  if (sync === null) return;
  new Gauge({
    name: "millrace_hub_clock_offset_seconds",
    help: "This node's clock less the hub's, as of its last answer",
    registers,
    collect() {
      const { clockOffsetMs = null } = sync.news ?? {};
      if (clockOffsetMs !== null) this.set(clockOffsetMs / 1_000);
    },
  });
  new Gauge({
    name: "millrace_hub_identity",
    help: "1 for what the hub noticed of this data directory: replayed, cloned, re-imaged or name-shared",
    labelNames: ["case"],
    registers,
    collect() {
      this.reset();
      const { identity = null } = sync.news ?? {};
      if (identity !== null) this.set({ case: identity }, 1);
    },
  });
}
