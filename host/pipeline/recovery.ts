import { formatTime } from "../../workers/time-format.ts";
import type { ApplyLoop } from "./apply-loop.ts";
import { closedBefore } from "./closed-before.ts";
import { LogReplay, type LogReplayParts } from "./log-replay.ts";
import { restoreCheckpoint } from "./restore-checkpoint.ts";
import type { RunningStream, StreamRegistry } from "./stream-registry.ts";
import type { WindowWorker } from "./window-worker.ts";

/** Stored bytes read from the log at once during a replay. */
const REPLAY_BYTES = 4 * 1024 * 1024;

export interface RecoveryParts extends LogReplayParts {
  readonly registry: StreamRegistry;
  readonly windows: WindowWorker;
  readonly apply: ApplyLoop;
  readonly configure: (stream: RunningStream) => Promise<void>;
}

/**
 * Recovery: load the last checkpoint, then replay the log after it through the same code as live events.
 * Results that were already stored are written again under the same revision, so nothing counts twice. Without a checkpoint
 * that can be used all blocks that are held are replayed; some may be merged, and some gone, so what is stored stays.
 */
export async function recover(parts: RecoveryParts): Promise<{ lastSeq: number; checkpointSeq: number }> {
  const { storage, registry, windows, apply, log } = parts;
  const opened = storage.recovered;
  for (const stored of opened.streams) {
    const stream = registry.recall(stored.stream);
    stream.learn(stored.schema);
    stream.learnTimes(stored.timeSources);
    stream.schemaVersion = stored.schemaVersion;
    Object.assign(stream.counts, stored.counts);
  }
  for (const stream of registry.streams()) await parts.configure(stream);
  const checkpoint = opened.checkpoint;
  for (const seq of opened.damagedCheckpoints) {
    log.error(
      { seq, instead: checkpoint?.seq ?? null },
      "a checkpoint is damaged; windows are recovered from its spare and the log after that",
    );
  }
  if (checkpoint !== null) {
    const restoringMs = performance.now();
    const changed = await restoreCheckpoint(storage, windows, checkpoint);
    const restoredMs = Math.round(performance.now() - restoringMs);
    log.info({ seq: checkpoint.seq, restoredMs }, "checkpoint restored");
    for (const query of changed) {
      log.warn({ query }, "the query's definition changed; its open windows start again from here");
    }
    apply.startFrom(checkpoint.seq);
  }
  const { rebuild } = opened;
  if (rebuild !== null) {
    const closed = closedBefore(registry.streams(), rebuild);
    await windows.closeBefore(closed);
    for (const { queryId, sinceUs } of closed) {
      const query = registry.queryById(queryId)?.config.name;
      const since = formatTime(sinceUs);
      log.warn(
        { query, since },
        "windows that begin before this stay as they were given: events of theirs are gone",
      );
    }
  }
  apply.isRebuilding = rebuild !== null;
  apply.isReplaying = true;
  apply.toldSeq = rebuild?.toldSeq ?? 0;
  const checkpointSeq = checkpoint?.seq ?? 0;
  const startedMs = performance.now();
  const events = await replayLog(parts, checkpointSeq);
  apply.isRebuilding = false;
  apply.isReplaying = false;
  apply.remember(await windows.describe());
  const seconds = (performance.now() - startedMs) / 1_000;
  if (events > 0) {
    log.info({ events, seconds, eventsPerSecond: Math.round(events / seconds) }, "recovered");
  }
  return { lastSeq: opened.lastSeq, checkpointSeq };
}

/** The lanes work on what comes next while the windows take in what came before. */
async function replayLog(parts: RecoveryParts, checkpointSeq: number): Promise<number> {
  let afterSeq = checkpointSeq;
  const replay = new LogReplay(parts);
  const { toldSeq } = parts.apply;
  let isStanding = toldSeq === 0;
  let events = 0;
  let next = parts.storage.readLog({ afterSeq, maxBytes: REPLAY_BYTES });
  while (true) {
    const entries = await next;
    const last = entries[entries.length - 1];
    if (last === undefined) break;
    afterSeq = last.seq;
    next = parts.storage.readLog({ afterSeq, maxBytes: REPLAY_BYTES });
    const told = entries.filter(({ seq }) => seq <= toldSeq);
    await replay.take(told);
    if (!isStanding && (told.length < entries.length || last.seq === toldSeq)) {
      isStanding = true;
      await standAsTold(parts);
    }
    await replay.take(entries.slice(told.length));
    for (const entry of entries) if (entry.kind === "block") events += entry.block.count;
  }
  await parts.apply.settled();
  if (!isStanding) await standAsTold(parts);
  return events;
}

/**
 * Where the log was applied without a checkpoint up to what was told of it before: alerts stand as they were told then. What the
 * replay made of them may be otherwise, for blocks were merged or are gone, and so are changes of the configuration.
 */
async function standAsTold({ apply, storage, windows }: RecoveryParts): Promise<void> {
  await apply.settled();
  await windows.standAs(await storage.openAlerts(apply.toldSeq));
}
