import { setPriority } from "node:os";
import { moveWith } from "./move.ts";
import { answerPage, type TextPage } from "./query/answer.ts";
import { BlockScanner } from "./query/block-scanner.ts";
import { EVENT_CURSOR } from "./query/cursor.ts";
import { readEvents } from "./query/events.ts";
import type * as tasks from "./query/tasks.ts";
import type { MasterKeys } from "./seal/master-key.ts";
import { Reader } from "./store/reader.ts";
import { nameThread } from "./thread-name.ts";
import { portableCodec } from "./zstd.ts";

nameThread("scan");

/**
 * Reads of stored events, on a thread of their own: they may go through much of what is stored, and nobody else should
 * wait for that. It comes with the first read and goes when there are none for a while.
 */

/** A page of events; its cursor is the text that the page before gave out. */
export type ScanTask = Omit<tasks.EventsTask, "after"> & {
  readonly dir: string;
  /** null: the data is not encrypted. */
  readonly masters: MasterKeys | null;
  readonly after: string | null;
};

/** Where cores are short, who has to acknowledge goes first. */
const NICENESS = 10;

lowerPriority();
const scanner = new BlockScanner(await portableCodec());
let reader: Reader | null = null;
let openDir: string | null = null;

/** Events of [fromUs, toUs) in the order of event time. */
export function events({ dir, masters, ...task }: ScanTask): TextPage | tasks.QueryFailure {
  const open = (): Reader => readerOf(dir, masters);
  const page = answerPage(open, task, EVENT_CURSOR, (store, after) =>
    readEvents(store, scanner, { ...task, after }),
  );
  return "failure" in page ? page : moveWith(page, [page.ndjson.buffer]);
}

export function close(): void {
  reader?.close();
  reader = null;
}

function readerOf(dir: string, masters: MasterKeys | null): Reader {
  if (reader === null || openDir !== dir) {
    reader?.close();
    reader = new Reader(dir, masters);
    openDir = dir;
  }
  if (masters !== null) reader.learnKeys(masters);
  return reader;
}

/** Linux gives each thread a priority of its own; elsewhere this would be the whole process's. */
function lowerPriority(): void {
  if (process.platform !== "linux") return;
  try {
    setPriority(NICENESS);
  } catch {
    // A sandbox may forbid it. Reads then compete like anything else.
  }
}
