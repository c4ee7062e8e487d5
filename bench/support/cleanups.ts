import type { Cleanup } from "../../test/support/temp-dir.ts";

/** What a bench must undo, in reverse order, also when it fails. */
export async function withCleanups<T>(task: (cleanup: Cleanup) => Promise<T>): Promise<T> {
  const tasks: (() => void | Promise<void>)[] = [];
  try {
    return await task({ after: (each) => void tasks.push(each) });
  } finally {
    for (const each of tasks.toReversed()) await each();
  }
}
