import { destination, type Logger, pino, stdTimeFunctions } from "pino";

/** JSON lines on stdout, written at once: a killed node has said what it did. */
export function createLog(): Logger {
  const level = process.env.MILLRACE_LOG ?? "info";
  const stdout = destination({ dest: 1, sync: true });
  // Whoever read the log is gone: a reason to be silent, not to stop.
  stdout.on("error", () => {});
  return pino({ level, base: null, timestamp: stdTimeFunctions.isoTime }, stdout);
}
