import { destination, type Logger, pino, stdTimeFunctions } from "pino";
import { MillraceError } from "../../workers/errors.ts";

/** JSON lines on stdout, written at once: a killed node has said what it did. Throws where `MILLRACE_LOG` is no level. */
export function createLog(): Logger {
  const level = process.env.MILLRACE_LOG || "info";
  if (level !== "silent" && !Object.hasOwn(pino.levels.values, level))
    throw new MillraceError(
      "E_LOG_LEVEL",
      `MILLRACE_LOG is ${level}; make it one of ${[...Object.keys(pino.levels.values), "silent"].join(", ")}`,
    );
  const stdout = destination({ dest: 1, sync: true });
  // Whoever read the log is gone: a reason to be silent, not to stop.
  stdout.on("error", () => {});
  return pino({ level, base: null, timestamp: stdTimeFunctions.isoTime }, stdout);
}
