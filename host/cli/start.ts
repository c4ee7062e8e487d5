import { MillraceError } from "../../workers/errors.ts";
import type { Config } from "../config/config.ts";
import { formatProblem } from "../config/problems.ts";
import { ConfigSource } from "../config/source.ts";
import { main, type RunningNode } from "../main.ts";
import { CommandError } from "./client.ts";
import { EXIT, finish, warn } from "./output.ts";
import { keepHeapsSmall } from "./small-heaps.ts";

interface StartOptions {
  readonly config?: string;
  readonly data?: string;
  readonly listen?: string;
}

/** Before a node that has failed ends: what it has acknowledged is then on its way. */
const LAST_ANSWERS_MS = 250;
/** npm and a terminal may each pass on one Ctrl-C; signals this close together are one. */
const SAME_SIGNAL_MS = 1_000;

/** `millrace start`: runs until SIGTERM or SIGINT, then drains, checkpoints and exits with 0. */
export async function start({ config: file, data, listen }: StartOptions): Promise<void> {
  const source = new ConfigSource(file ?? null, { dataDir: data, listen });
  const loaded = source.load();
  if (!loaded.ok) {
    for (const problem of loaded.problems) warn(formatProblem(problem));
    return finish(EXIT.failed);
  }
  let isUp = false;
  const node = startNode(loaded.config, source);
  reloadOnSignal(node);
  closeOnSignal(node, "node", () => isUp);
  await node;
  isUp = true;
  keepHeapsSmall();
  void (await node).failed.then(() => {
    warn("millrace: the node cannot go on and stops; what was acknowledged is safe, start it again");
    setTimeout(() => process.exit(EXIT.failed), LAST_ANSWERS_MS);
  });
}

/** SIGHUP reads the configuration's file again; one that comes while the node starts is heeded once it has. */
function reloadOnSignal(node: Promise<RunningNode>): void {
  process.on("SIGHUP", () => void node.then(({ reload }) => reload()).catch(() => undefined));
}

async function startNode(config: Config, source: ConfigSource): Promise<RunningNode> {
  try {
    return await main(config, source);
  } catch (cause) {
    throw explainStart(cause, config);
  }
}

type Closable = Pick<RunningNode, "close">;

/**
 * Signals count from the beginning: one that comes while it starts, and `isUp` says no, ends it at once, however long its
 * replay or its repairs would take. Nothing was acknowledged yet, and the next start begins again.
 */
export function closeOnSignal(
  running: Promise<Closable>,
  what: "node" | "hub",
  isUp: () => boolean = () => true,
): void {
  let stoppedAtMs: number | null = null;
  const stop = (): void => {
    const nowMs = performance.now();
    if (!isUp()) process.exit(EXIT.ok);
    if (stoppedAtMs === null) {
      stoppedAtMs = nowMs;
      void running.then(
        (started) => closeAndExit(started, what),
        () => {},
      );
    } else if (nowMs - stoppedAtMs > SAME_SIGNAL_MS) {
      warn("millrace: stopping at once; what was acknowledged is safe");
      process.exit(EXIT.failed);
    }
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
}

async function closeAndExit(running: Closable, what: string): Promise<void> {
  try {
    await running.close();
    process.exit(EXIT.ok);
  } catch (cause) {
    warn(`millrace: the ${what} did not stop cleanly; what was acknowledged is safe: ${String(cause)}`);
    process.exit(EXIT.failed);
  }
}

/** What to tell a person of a start that failed. */
export function explainStart(cause: unknown, { listen }: Pick<Config, "listen">): unknown {
  if (cause instanceof MillraceError)
    return new CommandError(EXIT.failed, `${cause.message} (${cause.code})`, { cause });
  const code = cause instanceof Error && "code" in cause ? cause.code : null;
  const address = `${listen.host}:${listen.port}`;
  if (code === "EADDRINUSE") {
    return new CommandError(
      EXIT.failed,
      `${address} is in use; stop what listens there, or choose another with --listen`,
      { cause },
    );
  }
  if (code === "EADDRNOTAVAIL" || code === "ENOTFOUND" || code === "EACCES") {
    return new CommandError(
      EXIT.failed,
      `${address} cannot be listened on (${code}); choose another with --listen`,
      { cause },
    );
  }
  return cause;
}
