import type { HubRecord, RecordWrite } from "../../workers/hub/records.ts";

/** Small documents that the hubs of one database share. A read sees every write that was answered before. */
export interface RecordStore {
  readRecord(kind: string, name: string): Promise<HubRecord | null>;
  /** All of a kind, by name. */
  listRecords(kind: string): Promise<readonly HubRecord[]>;
  /** All of them, durable, or none: then one of them was written by another since it was read. */
  writeRecords(writes: readonly RecordWrite[]): Promise<boolean>;
}
