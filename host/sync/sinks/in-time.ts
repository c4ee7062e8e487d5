import { MillraceError } from "../../../workers/errors.ts";

/**
 * The outcome of the work, or a rejection once it takes too long or the signal aborts: clients of servers do not all notice
 * that a line is dead.
 * @throws MillraceError E_SYNC_TIMEOUT
 */
export function inTime<T>(work: Promise<T>, timeoutMs: number, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => end(() => reject(new MillraceError("E_SYNC_STOPPED", "the node stops")));
    const timer = setTimeout(() => {
      const message = `no answer within ${timeoutMs / 1_000} s`;
      end(() => reject(new MillraceError("E_SYNC_TIMEOUT", message)));
    }, timeoutMs);
    const end = (settle: () => void): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
      settle();
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort);
    work.then(
      (value) => end(() => resolve(value)),
      (cause: unknown) => end(() => reject(cause)),
    );
  });
}
