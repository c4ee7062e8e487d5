import type { AttributeLimits } from "../../workers/attributes/attribute-rules.ts";
import { MillraceError } from "../../workers/errors.ts";
import type {
  AttributeReport,
  DeviceAttributes,
  ListDevicesTask,
  SetAttributesOutcome,
  SetAttributesTask,
} from "../../workers/store/attribute-operations.ts";
import type { StorageClient } from "../store/storage-client.ts";

/** Requests that may wait for a transaction: each is a few KiB at most. */
const MAX_WAITING = 10_000;
/** Attributes in one transaction, beyond those of its first request. */
const MAX_GROUP_ROWS = 512;

type Storage = Pick<StorageClient, "setAttributes" | "readAttributes" | "listDevices" | "reportAttributes">;

interface Waiting {
  readonly task: SetAttributesTask;
  readonly settle: (outcome: SetAttributesOutcome) => void;
  readonly fail: (cause: unknown) => void;
}

export interface DeviceRegistryParts {
  readonly storage: Storage;
  readonly limits: AttributeLimits;
  /** There is something to send. */
  readonly onSet: () => void;
}

/** Attributes of devices. Those that are set while others are written share the next transaction and its fsync. */
export class DeviceRegistry {
  readonly #parts: DeviceRegistryParts;
  #waiting: Waiting[] = [];
  #isWriting = false;
  /** Requests refused by a limit since the start. */
  refused = 0;

  constructor(parts: DeviceRegistryParts) {
    this.#parts = parts;
  }

  get limits(): AttributeLimits {
    return this.#parts.limits;
  }

  /**
   * Resolves once they are durable.
   * @throws MillraceError E_ATTRIBUTES_WAITING when too many wait, or as `StorageClient`
   */
  set(task: SetAttributesTask): Promise<SetAttributesOutcome> {
    if (this.#waiting.length >= MAX_WAITING)
      return Promise.reject(
        new MillraceError(
          "E_ATTRIBUTES_WAITING",
          `${MAX_WAITING} changes of attributes wait; send again later`,
        ),
      );
    return new Promise((settle, fail) => {
      this.#waiting.push({ task, settle, fail });
      if (!this.#isWriting) void this.#write();
    });
  }

  read(device: string): Promise<DeviceAttributes | null> {
    return this.#parts.storage.readAttributes(device);
  }

  list(task: ListDevicesTask): Promise<readonly DeviceAttributes[]> {
    return this.#parts.storage.listDevices(task);
  }

  report(): Promise<AttributeReport> {
    return this.#parts.storage.reportAttributes();
  }

  #takeGroup(): Waiting[] {
    let rows = 0;
    const end = this.#waiting.findIndex(({ task }, at) => {
      rows += Object.keys(task.attributes).length;
      return at > 0 && rows > MAX_GROUP_ROWS;
    });
    return this.#waiting.splice(0, end < 0 ? this.#waiting.length : end);
  }

  async #write(): Promise<void> {
    this.#isWriting = true;
    const { storage, limits, onSet } = this.#parts;
    while (this.#waiting.length > 0) {
      const group = this.#takeGroup();
      try {
        const tasks = group.map(({ task }) => task);
        const outcomes = await storage.setAttributes({ tasks, limits });
        group.forEach(({ settle }, index) => {
          const outcome = outcomes[index]!;
          if (outcome.kind === "refused") this.refused++;
          settle(outcome);
        });
        onSet();
      } catch (cause) {
        for (const { fail } of group) fail(cause);
      }
    }
    this.#isWriting = false;
  }
}
