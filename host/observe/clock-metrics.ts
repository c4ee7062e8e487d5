import { Gauge, type Registry } from "prom-client";
import type { Engine } from "../pipeline/engine.ts";

/**
 * Metrics of devices' clocks. Only the devices with the most clock-skewed events have a label of their own, some 20 a
 * stream, so that a large fleet does not make a large number of series.
 */
export function registerClocks(registers: Registry[], engine: Engine): void {
  const perStream = (
    name: string,
    help: string,
    read: (stream: ReturnType<Engine["streams"]>[number]) => number | null,
  ): void => {
    new Gauge({
      name,
      help,
      labelNames: ["stream"],
      registers,
      collect() {
        this.reset();
        for (const stream of engine.streams()) {
          const value = read(stream);
          if (value !== null) this.set({ stream: stream.config.name }, value);
        }
      },
    });
  };
  perStream(
    "millrace_stream_sources",
    "Devices whose clocks are known (limit: maxSources)",
    ({ sources }) => sources.known,
  );
  perStream(
    "millrace_stream_active_sources",
    "Devices that the watermark waits for, since they are not idle",
    ({ config, sources }) => (config.watermark.per === "source" ? sources.active : null),
  );
  perStream(
    "millrace_stream_untracked_events",
    "Events of devices beyond maxSources: they hold no watermark back",
    ({ sources }) => sources.untrackedEvents,
  );
  const labelNames = ["stream", "device"] as const;
  new Gauge({
    name: "millrace_clock_skewed_device_events",
    help: "Events beyond maxAhead by device: those with the most",
    labelNames,
    registers,
    collect() {
      this.reset();
      for (const { config, skewedDevices } of engine.streams())
        for (const { device, events } of skewedDevices)
          this.set({ stream: config.name, device: device ?? "" }, events);
    },
  });
  new Gauge({
    name: "millrace_clock_skewed_device_offset_seconds",
    help: "Median of event time - arrival of these devices: above 0 the clock is ahead",
    labelNames,
    registers,
    collect() {
      this.reset();
      for (const { config, skewedDevices } of engine.streams())
        for (const { device, medianOffsetUs } of skewedDevices)
          this.set({ stream: config.name, device: device ?? "" }, medianOffsetUs / 1e6);
    },
  });
}
