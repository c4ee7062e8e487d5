import { MillraceError } from "../../workers/errors.ts";
import type { RelayedBatch, RelayedOutcome, StoreRelayedTask } from "../../workers/store/relay-operations.ts";
import type { Inspected, InspectTask } from "../../workers/sync.ts";
import type { HubLimits } from "../hub/hub-config.ts";

/** Bytes of batches in one transaction, beyond the first. */
const MAX_GROUP_BYTES = 16 * 1024 * 1024;

export interface RelayInboxParts {
  readonly capBytes: number;
  readonly limits: HubLimits;
  readonly inspect: (task: InspectTask) => Promise<Inspected>;
  readonly store: (task: StoreRelayedTask) => Promise<readonly RelayedOutcome[]>;
  readonly nowUs: () => number;
  /** There is something to send on. */
  readonly onStored: () => void;
}

interface Waiting {
  readonly batch: RelayedBatch;
  readonly settle: (outcome: RelayedOutcome) => void;
  readonly fail: (cause: unknown) => void;
}

/** Takes batches of other edges. Those that come while others are written share the next transaction and its fsync. */
export class RelayInbox {
  readonly #parts: RelayInboxParts;
  #waiting: Waiting[] = [];
  #isWriting = false;

  constructor(parts: RelayInboxParts) {
    this.#parts = parts;
  }

  /**
   * Resolves once the batch is durable, or was before.
   * @throws MillraceError as a hub's store when the batch is at fault; E_RELAY_FULL when there is no room
   */
  async receive(batch: {
    readonly edge: string;
    readonly key: string;
    readonly hops: readonly string[];
    readonly body: ArrayBuffer;
  }): Promise<{ readonly stored: number; readonly isDuplicate: boolean }> {
    const { limits, inspect, onStored, capBytes } = this.#parts;
    const { maxBlockBytes, ...rest } = limits;
    const body = new Uint8Array(batch.body);
    const { edge, key, hops } = batch;
    const inspected = await inspect({ edge, key, body: batch.body, limits: rest, maxBlockBytes });
    const outcome = await new Promise<RelayedOutcome>((settle, fail) => {
      this.#waiting.push({ batch: { edge, key, hops, body, ...inspected }, settle, fail });
      if (!this.#isWriting) void this.#write();
    });
    if (outcome === "full")
      throw new MillraceError(
        "E_RELAY_FULL",
        `batches of other edges fill relay.cap (${capBytes} bytes) and wait for the hub; keep yours, and send again later`,
      );
    if (outcome === "stored") onStored();
    const isDuplicate = outcome === "duplicate";
    return { stored: isDuplicate ? 0 : inspected.rows, isDuplicate };
  }

  async #write(): Promise<void> {
    this.#isWriting = true;
    while (this.#waiting.length > 0) {
      const group = this.#takeGroup();
      const { store, capBytes, nowUs } = this.#parts;
      try {
        const outcomes = await store({ batches: group.map(({ batch }) => batch), capBytes, nowUs: nowUs() });
        for (const [index, { settle }] of group.entries()) settle(outcomes[index] ?? "full");
      } catch (cause) {
        for (const { fail } of group) fail(cause);
      }
    }
    this.#isWriting = false;
  }

  #takeGroup(): Waiting[] {
    let bytes = 0;
    let count = 0;
    for (const { batch } of this.#waiting) {
      bytes += batch.body.length;
      if (count > 0 && bytes > MAX_GROUP_BYTES) break;
      count++;
    }
    return this.#waiting.splice(0, count);
  }
}
