import { Piscina } from "piscina";
import type { ApplyEntry, ApplyResult, WindowSetup } from "../../workers/messages.ts";
import { workerFile } from "./worker-file.ts";

/** The window thread: the only place that knows of watermarks, firing and revisions. */
export class WindowWorker {
  readonly #pool = new Piscina({
    filename: workerFile("window"),
    minThreads: 1,
    maxThreads: 1,
    idleTimeout: Number.POSITIVE_INFINITY,
    stricterFIFO: true,
  });

  configure(setups: readonly WindowSetup[]): Promise<void> {
    return this.#pool.run(setups, { name: "configure" });
  }

  apply(entries: readonly ApplyEntry[]): Promise<ApplyResult> {
    const transferList = entries.flatMap((entry) =>
      entry.kind === "block" ? entry.partials.map((partial) => partial.bytes.buffer) : [],
    );
    return this.#pool.run(entries, { name: "apply", transferList });
  }

  snapshot(): Promise<{ readonly seq: number; readonly state: Uint8Array<ArrayBuffer> }> {
    return this.#pool.run(null, { name: "snapshot" });
  }

  /** @returns the queries whose definition changed since: their windows start empty. */
  restore(checkpoint: { readonly seq: number; readonly state: Uint8Array }): Promise<readonly string[]> {
    return this.#pool.run(checkpoint, { name: "restore" });
  }

  describe(): Promise<Pick<ApplyResult, "watermarks" | "stats">> {
    return this.#pool.run(null, { name: "describe" });
  }

  close(): Promise<void> {
    return this.#pool.destroy();
  }
}
