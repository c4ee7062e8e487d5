import { destination, type Logger, pino, stdTimeFunctions } from "pino";

/** JSON lines on stdout, written at once: a killed node has said what it did. */
export function createLog(): Logger {
  const level = process.env.MILLRACE_LOG ?? "info";
  return pino(
    { level, base: null, timestamp: stdTimeFunctions.isoTime },
    destination({ dest: 1, sync: true }),
  );
}
