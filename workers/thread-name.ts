import { writeFileSync } from "node:fs";
import { isMainThread } from "node:worker_threads";

/** Linux keeps the first 15 bytes of a thread's name. */
const COMM = "/proc/thread-self/comm";

/**
 * Names this worker's thread for the operating system, so that `top -H` and benches tell which thread takes the processor.
 * Only Linux lets a thread do so; elsewhere, and on the main thread, nothing happens.
 */
export function nameThread(name: string): void {
  if (isMainThread || process.platform !== "linux") return;
  try {
    writeFileSync(COMM, name);
  } catch {
    // Without /proc, as in some sandboxes, threads stay without names: they are for people only.
  }
}
