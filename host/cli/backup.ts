import { MillraceError } from "../../workers/errors.ts";
import { backUp } from "../store/backup.ts";
import { CommandError } from "./client.ts";
import { dataDirectory, readConfig } from "./data-directory.ts";
import { EXIT, print } from "./output.ts";
import { formatCount, Progress } from "./progress.ts";

interface BackupOptions {
  readonly data?: string;
  readonly config?: string;
  readonly json?: true;
}

/** `millrace backup TARGET`: a verified copy of a data directory as it is at one moment. */
export async function backup(target: string, options: BackupOptions): Promise<void> {
  const dir = dataDirectory(options.data, () => readConfig(options.config));
  const progress = new Progress(null);
  try {
    const done = await backUp({ dir, target, onProgress: (part) => progress.part(part, "copied") });
    progress.clear();
    if (options.json) return print(JSON.stringify({ ...done, verified: true }));
    const { events, blocks, results, bytes, seconds } = done;
    print(
      `${done.target}: ${formatCount(events)} events in ${formatCount(blocks)} blocks, ${formatCount(results)} results,` +
        ` ${formatCount(bytes)} bytes, verified, ${seconds.toFixed(1)} s`,
    );
  } catch (cause) {
    progress.clear();
    if (cause instanceof MillraceError)
      throw new CommandError(EXIT.failed, `${cause.message} (${cause.code})`, { cause });
    throw cause;
  }
}
