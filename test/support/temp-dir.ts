import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Where a thing can be told what to do when the test is over; a test's context is one. */
export interface Cleanup {
  after(task: () => void | Promise<void>): void;
}

/** A new folder that is gone after the test. */
export function makeTempDir(cleanup: Cleanup): string {
  const dir = mkdtempSync(join(tmpdir(), "millrace-test-"));
  cleanup.after(() => rmSync(dir, { recursive: true, force: true, maxRetries: 5 }));
  return dir;
}
