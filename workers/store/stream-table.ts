import type { BlockSchema, SchemaField } from "../messages.ts";
import { fieldsOf, mergeSchemas } from "../schema.ts";
import { schemaPlace, timeSourcesPlace } from "../seal/places.ts";
import type { Stored } from "../seal/seal.ts";
import type { Statements } from "./statements.ts";

/** What the store knows of a stream. */
export interface StoredStream {
  readonly stream: string;
  /** 0 while no event was stored; one more each time a field is added or widened. */
  readonly schemaVersion: number;
  readonly schema: readonly SchemaField[];
  /** The fields that gave events their times, and null where their arrival did. */
  readonly timeSources: readonly (string | null)[];
  readonly counts: {
    readonly accepted: number;
    readonly deadLettered: number;
    readonly late: number;
    readonly clockSkewed: number;
    readonly blocks: number;
    readonly storedBytes: number;
  };
}

/** A stream's row as the writer holds it in memory. */
export interface StreamEntry {
  readonly id: number;
  readonly name: string;
  schemaVersion: number;
  schema: readonly SchemaField[];
  /** The fields taken in last; null: none since the table was read. */
  widenedBy: BlockSchema | null;
  timeSources: readonly (string | null)[];
}

/** Blocks of a stream that were deleted since the start, less those that took their place. */
export interface RemovedBlocks {
  readonly stream: string;
  readonly blocks: number;
  readonly storedBytes: number;
}

interface SchemaRow {
  readonly id: number;
  readonly schemaVersion: number;
  readonly schema: Stored;
  readonly timeSources: Stored;
}

/** The streams by name, and their schemas by version. Mirrors the table: `reload` after a rollback. */
export class StreamTable {
  readonly #sql: Statements;
  readonly #byName = new Map<string, StreamEntry>();
  readonly #removed = new Map<number, { blocks: number; storedBytes: number }>();

  constructor(sql: Statements) {
    this.#sql = sql;
    this.reload();
  }

  reload(): void {
    this.#byName.clear();
    const rows = this.#sql.allStreams.all() as {
      id: number;
      name: string;
      schemaVersion: number;
      schema: Stored;
      timeSources: Stored;
    }[];
    for (const row of rows) this.#byName.set(row.name, { ...row, ...this.#open(row), widenedBy: null });
  }

  entries(): IterableIterator<StreamEntry> {
    return this.#byName.values();
  }

  /** The stream of that name, made when it is not there. */
  entry(name: string): StreamEntry {
    const known = this.#byName.get(name);
    if (known !== undefined) return known;
    const id = Number(this.#sql.insertStream.run(name).lastInsertRowid);
    const entry: StreamEntry = { id, name, schemaVersion: 0, schema: [], widenedBy: null, timeSources: [] };
    this.#byName.set(name, entry);
    return entry;
  }

  /** Takes in the fields of a block. A change is a new version, in force from `seq` on. */
  widen(entry: StreamEntry, fields: BlockSchema, seq: number): void {
    if (fields === entry.widenedBy) return;
    entry.widenedBy = fields;
    const widened = mergeSchemas(entry.schema, fieldsOf(fields));
    if (widened === entry.schema) return;
    entry.schema = widened;
    entry.schemaVersion++;
    const text = this.#sql.seal.text(schemaPlace(entry.id, entry.schemaVersion), JSON.stringify(widened));
    this.#sql.insertSchema.run(entry.id, entry.schemaVersion, text, seq);
    this.#sql.updateSchema.run(entry.schemaVersion, text, entry.id);
  }

  /** Takes in where a block's events had their times from. */
  learnTimes(entry: StreamEntry, sources: readonly (string | null)[]): void {
    const fresh = sources.filter((source) => !entry.timeSources.includes(source));
    if (fresh.length === 0) return;
    entry.timeSources = [...entry.timeSources, ...fresh];
    const text = this.#sql.seal.text(timeSourcesPlace(entry.id), JSON.stringify(entry.timeSources));
    this.#sql.updateTimeSources.run(text, entry.id);
  }

  /** Blocks are gone for good: to be told once their transaction is committed. */
  countRemoved(streamId: number, blocks: number, storedBytes: number): void {
    const before = this.#removed.get(streamId) ?? { blocks: 0, storedBytes: 0 };
    this.#removed.set(streamId, {
      blocks: before.blocks + blocks,
      storedBytes: before.storedBytes + storedBytes,
    });
  }

  /** Of the streams of which any blocks were. */
  removed(): RemovedBlocks[] {
    return [...this.#byName.values()].flatMap(({ id, name }) => {
      const counts = this.#removed.get(id);
      return counts === undefined ? [] : [{ stream: name, ...counts }];
    });
  }

  #open({ id, schemaVersion, schema, timeSources }: SchemaRow): Pick<StreamEntry, "schema" | "timeSources"> {
    const { seal } = this.#sql;
    // As a stream begins, with nothing to hide.
    const open = (place: string, stored: Stored): unknown =>
      JSON.parse(stored === "[]" ? stored : seal.openText(place, stored));
    return {
      schema: open(schemaPlace(id, schemaVersion), schema) as SchemaField[],
      timeSources: open(timeSourcesPlace(id), timeSources) as (string | null)[],
    };
  }

  describe(): StoredStream[] {
    type Row = Pick<StoredStream, "stream" | "schemaVersion"> & SchemaRow & StoredStream["counts"];
    return (this.#sql.describeStreams.all() as Row[]).map(
      ({ id, stream, schemaVersion, schema, timeSources, ...counts }) => ({
        stream,
        schemaVersion,
        ...this.#open({ id, schemaVersion, schema, timeSources }),
        counts,
      }),
    );
  }
}
