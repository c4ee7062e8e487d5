import { formatProblem } from "../config/problems.ts";
import { startHub } from "../hub/hub.ts";
import { loadHubConfig } from "../hub/hub-config.ts";
import { CommandError } from "./client.ts";
import { EXIT, finish, warn } from "./output.ts";
import { keepHeapsSmall } from "./small-heaps.ts";
import { closeOnSignal, explainStart } from "./start.ts";

interface HubOptions {
  readonly config?: string;
  readonly data?: string;
  readonly listen?: string;
}

/** `millrace hub`: runs until SIGTERM or SIGINT, then drains and exits with 0. */
export function hub({ config: file, data, listen }: HubOptions): void {
  const loaded = loadHubConfig(file ?? null, { dataDir: data, listen });
  if (!loaded.ok) {
    for (const problem of loaded.problems) warn(formatProblem(problem));
    finish(EXIT.failed);
    return;
  }
  const { config } = loaded;
  const running = startHub(config).catch((cause: unknown) => {
    throw explainStart(cause, config);
  });
  closeOnSignal(running, "hub");
  // Who is used to edges sends it to have a file read again. It must not end a hub in the middle of a batch.
  process.on("SIGHUP", () => {
    warn("millrace: the hub reads its configuration at its start alone; start it again for a changed one");
  });
  running.then(keepHeapsSmall).catch((cause: unknown) => {
    warn(`millrace: ${cause instanceof Error ? cause.message : String(cause)}`);
    process.exit(cause instanceof CommandError ? cause.exitCode : EXIT.failed);
  });
}
