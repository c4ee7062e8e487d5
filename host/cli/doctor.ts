import { MillraceError } from "../../workers/errors.ts";
import { type Diagnosis, diagnose, type StoreFinding } from "../../workers/store/repair/doctor.ts";
import { loadKeys } from "../encryption/load-keys.ts";
import { CommandError } from "./client.ts";
import { readConfig } from "./data-directory.ts";
import { EXIT, finish, print, warn } from "./output.ts";
import { formatCount, Progress } from "./progress.ts";

interface DoctorCommand {
  readonly config?: string;
  readonly data?: string;
  readonly json?: true;
  readonly repair?: true;
}

/** Where a node keeps its data without a configuration. */
export const DEFAULT_DATA_DIR = "./millrace-data";

/** `millrace doctor`: looks at the store of a stopped node. Exit codes: 0 healthy, 1 problems found, 2 it could not look. */
export async function doctor({ config: file, data, json, repair }: DoctorCommand): Promise<void> {
  const progress = new Progress(null);
  try {
    const config = readConfig(file);
    const diagnosis = await diagnose({
      dir: data ?? config?.dataDir ?? DEFAULT_DATA_DIR,
      masters: config?.encryption === undefined ? null : await loadKeys(config.encryption),
      mode: repair ? "repair" : "look",
      nowUs: Date.now() * 1000,
      onProgress: (done, total) => progress.note(`${formatCount(done)} of ${formatCount(total)} blocks`),
    });
    progress.clear();
    if (json) print(JSON.stringify(toJson(diagnosis)));
    else printDiagnosis(diagnosis);
    if (diagnosis.findings.some(({ isRepaired }) => !isRepaired)) finish(EXIT.failed);
  } catch (cause) {
    progress.clear();
    if (!(cause instanceof MillraceError)) throw cause;
    if (json) print(JSON.stringify({ healthy: null, code: cause.code, message: cause.message }));
    throw new CommandError(EXIT.usage, `${cause.message} (${cause.code})`, { cause });
  }
}

/** The form of `--json`. */
export function toJson({ file, findings, blocks, events, checkpoints, salvage }: Diagnosis): unknown {
  return {
    healthy: findings.every(({ isRepaired }) => isRepaired),
    file,
    blocks,
    events,
    checkpoints,
    findings: findings.map(({ check, message, isRepaired }) => ({ check, message, repaired: isRepaired })),
    salvage: salvage && {
      rows: salvage.rows,
      damagedRows: salvage.damagedRows,
      damagedPages: salvage.damagedPages,
      keptAs: salvage.keptAs,
    },
  };
}

export function formatFinding({ check, message, isRepaired }: StoreFinding): string {
  return `${isRepaired ? "repaired" : "problem"}: ${check}: ${message}`;
}

function printDiagnosis({ file, findings, blocks, events, checkpoints }: Diagnosis): void {
  for (const finding of findings) warn(formatFinding(finding));
  const looked = `${formatCount(blocks)} blocks, ${formatCount(events)} events, ${checkpoints} checkpoints`;
  const left = findings.filter(({ isRepaired }) => !isRepaired).length;
  if (findings.length === 0) print(`${file} is healthy: ${looked}`);
  else if (left === 0) print(`${file} is healthy again: ${looked}; ${findings.length} problems repaired`);
  else print(`${file} has ${left} problems: ${looked}; \`millrace doctor --repair\` repairs what can be`);
}
