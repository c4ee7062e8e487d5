import { availableParallelism, loadavg } from "node:os";

/** What there is to know of a machine at a moment. Times are µs. */
export interface LoadReading {
  readonly atUs: number;
  /** Processor time that this process has used. */
  readonly usedUs: number;
  /** Over the last minute; 0 where the system does not say. */
  readonly load: number;
  readonly cores: number;
}

/** Of its cores, what of a machine may be in use while time is spent on what need not be done; and what by this process alone. */
const BUSY_SHARE = 0.7;
const OWN_BUSY_SHARE = 0.3;

/**
 * Whether a machine has better to do: by the last minute's load, and by what this process has used since it was last asked, for
 * ingest may have begun a moment ago.
 */
export class MachineLoad {
  readonly #read: () => LoadReading;
  #before: LoadReading;

  constructor(read = readLoad) {
    this.#read = read;
    this.#before = read();
  }

  isBusy(): boolean {
    const [before, now] = [this.#before, this.#read()];
    this.#before = now;
    const ownShare = (now.usedUs - before.usedUs) / (now.cores * Math.max(1, now.atUs - before.atUs));
    return now.load > BUSY_SHARE * now.cores || ownShare > OWN_BUSY_SHARE;
  }
}

function readLoad(): LoadReading {
  const { user, system } = process.cpuUsage();
  return {
    atUs: performance.now() * 1_000,
    usedUs: user + system,
    load: loadavg()[0] ?? 0,
    cores: availableParallelism(),
  };
}
