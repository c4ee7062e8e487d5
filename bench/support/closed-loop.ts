import type { Cleanup } from "../../test/support/temp-dir.ts";
import { summariseLatencies } from "../report.ts";
import { Child } from "./child.ts";
import type { ClosedLoopMessage, ClosedLoopOptions } from "./closed-loop-client.ts";
import { cpuMsByName, describeThreads, readThreadCpuMs, readUsage } from "./proc.ts";

export type ClosedLoopDone = Extract<ClosedLoopMessage, { kind: "done" }>;

/** What a server did while a client in a process of its own sent as fast as it was answered. */
export interface ClosedLoopRun {
  readonly done: ClosedLoopDone;
  readonly eventsPerSecond: number;
  readonly row: Record<string, string | number>;
  readonly threads: string;
  /** CPU time of the server's threads in the measured stretch, by their names. */
  readonly threadCpuMs: ReadonlyMap<string, number>;
}

/** Runs the client against the server and reads the server's usage meanwhile. */
export async function runClosedLoop(
  options: ClosedLoopOptions,
  serverPid: number,
  cleanup: Cleanup,
): Promise<ClosedLoopRun> {
  const client = new Child<ClosedLoopMessage>(
    new URL("./closed-loop-client.ts", import.meta.url),
    options,
    cleanup,
  );
  let message = await client.next();
  let usage = readUsage(serverPid);
  let threads = readThreadCpuMs(serverPid);
  if (message.kind === "measuring") {
    usage = readUsage(serverPid);
    threads = readThreadCpuMs(serverPid);
    message = await client.next();
  }
  if (message.kind !== "done") throw new Error("the client did not finish");
  const usageAfter = readUsage(serverPid);
  const threadsAfter = readThreadCpuMs(serverPid);
  const seconds = message.elapsedMs / 1_000;
  const eventsPerSecond = message.events / seconds;
  const cpuMs = (usageAfter?.cpuMs ?? Number.NaN) - (usage?.cpuMs ?? Number.NaN);
  return {
    done: message,
    eventsPerSecond,
    threadCpuMs: cpuMsByName(threads, threadsAfter),
    threads: describeThreads(threads, threadsAfter, seconds),
    row: {
      "events/s": Math.round(eventsPerSecond),
      "MB/s": message.bytes / seconds / 1e6,
      ...summariseLatencies("ack", message.latenciesMs),
      "server cores": cpuMs / message.elapsedMs,
      "server ns/event": Math.round((cpuMs * 1e6) / message.events),
      "client cores": message.cpuMs / message.elapsedMs,
      "RSS MB": Math.round((usageAfter?.residentBytes ?? Number.NaN) / 1e6),
      refused: message.refused,
    },
  };
}

/** Event times of a bench start here, so that runs are alike. */
export const FIRST_EVENT_MS = Date.UTC(2026, 0, 1);
