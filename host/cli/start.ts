import { MillraceError } from "../../workers/errors.ts";
import { loadConfig } from "../config/load.ts";
import { main } from "../main.ts";
import { complain } from "./output.ts";

/** `millrace start`: runs until SIGTERM or SIGINT, then drains, checkpoints and exits with 0. */
export async function start(options: { config?: string; data?: string; listen?: string }): Promise<void> {
  const loaded = loadConfig(options.config ?? null, { dataDir: options.data, listen: options.listen });
  if (!loaded.ok) {
    for (const { file, line, column, path, message } of loaded.problems) {
      complain(`${file}:${line}:${column}: ${path === "" ? "" : `${path}: `}${message}`);
    }
    process.exitCode = 1;
    return;
  }
  try {
    const node = await main(loaded.config);
    const stop = (): void => {
      node.close().then(
        () => process.exit(0),
        (cause: unknown) => {
          complain(`millrace: the node did not stop cleanly: ${String(cause)}`);
          process.exit(1);
        },
      );
    };
    process.once("SIGTERM", stop);
    process.once("SIGINT", stop);
  } catch (cause) {
    if (!(cause instanceof MillraceError)) throw cause;
    complain(`millrace: ${cause.message} (${cause.code})`);
    process.exit(1);
  }
}
