import { type BatchHandle, decodeBlock, newBatch, resetBatch } from "../core/codec.ts";
import { decodeIfNeeded } from "../core/decode-columns.ts";
import {
  EventPage,
  type OpenBatch,
  openBatch,
  type RowSelection,
  selectedRows,
  selectRows,
} from "../core/event-page.ts";
import { type BlockKeys, mayHold } from "../core/key-filter.ts";
import { type CoreModule, instantiateCore } from "../core/module.ts";
import { MillraceError } from "../errors.ts";
import type { StoredBlock } from "../messages.ts";
import { release } from "../move.ts";
import type { Codec } from "../zstd.ts";
import { createEventWriter } from "./event-json.ts";

/** WASM memory only grows: before a page, a core that took more than this is exchanged for a new one. */
const KEPT_MEMORY_BYTES = 64 * 1024 * 1024;
/** Decoded blocks kept: where one page ends within a block, the next begins there, and blocks overlap by a little. */
const KEPT_BLOCKS = 3;

export type ScannedBlock =
  | { readonly kind: "rows"; readonly count: number }
  | { readonly kind: "unreadable"; readonly code: string; readonly message: string };

/** A page was begun and must be begun again: the core it stood in could not be trusted any more. */
export class PageLost extends Error {}

interface Slot {
  readonly identity: string;
  readonly open: OpenBatch;
}

/**
 * Decodes stored blocks, selects rows in them and collects a page, all in the core. A block in which a key is looked for
 * is first read as far as its times and keys; the rest of it only when a row was found.
 */
export class BlockScanner {
  readonly #codec: Codec;
  readonly #unreadable = new Map<string, string>();
  #core: CoreModule;
  #page: EventPage;
  #slots: Slot[] = [];
  /** Batches of no slot. */
  #spares: BatchHandle[] = [];

  constructor(codec: Codec) {
    this.#codec = codec;
    this.#core = instantiateCore();
    this.#page = new EventPage(this.#core);
  }

  get memoryBytes(): number {
    return this.#core.memory.buffer.byteLength;
  }

  /** The page that was begun last. */
  get page(): EventPage {
    return this.#page;
  }

  begin(limit: number, maxBytes: number): EventPage {
    if (this.memoryBytes > KEPT_MEMORY_BYTES) this.#renew();
    this.#page.begin(limit, maxBytes);
    return this.#page;
  }

  /**
   * Adds the selected rows of block `seq` to the page; or says why it cannot be read, which harms nothing else.
   * @throws PageLost when reading it broke the core: the page begins again, without it
   */
  add(seq: number, block: StoredBlock, timeField: string, selection: RowSelection): ScannedBlock {
    return this.#guarded(seq, block, () => {
      const found = this.#select(seq, block, timeField, selection);
      if (found === null) return 0;
      this.#page.add(found.open, seq, found.count);
      return found.count;
    });
  }

  /** The rows that a selection finds in a block; none where it cannot be read. */
  rows(seq: number, block: StoredBlock, timeField: string, selection: RowSelection): number[] {
    let rows: number[] = [];
    this.#guarded(seq, block, () => {
      const found = this.#select(seq, block, timeField, selection);
      if (found !== null) rows = selectedRows(this.#core, found.count);
      return rows.length;
    });
    return rows;
  }

  /** Whether a block with these keys may hold the key. */
  mayHold(keys: BlockKeys, fields: readonly string[], key: string): boolean {
    return mayHold(this.#core, keys, fields, key);
  }

  #guarded(seq: number, block: StoredBlock, run: () => number): ScannedBlock {
    const identity = identityOf(seq, block, "");
    const known = this.#unreadable.get(identity);
    if (known !== undefined) return { kind: "unreadable", code: "E_BLOCK_UNREADABLE", message: known };
    try {
      return { kind: "rows", count: run() };
    } catch (cause) {
      if (cause instanceof MillraceError)
        return { kind: "unreadable", code: cause.code, message: cause.message };
      this.#unreadable.set(identity, String(cause));
      this.#renew();
      throw new PageLost();
    }
  }

  #select(
    seq: number,
    block: StoredBlock,
    timeField: string,
    selection: RowSelection,
  ): { readonly open: OpenBatch; readonly count: number } | null {
    const identity = identityOf(seq, block, timeField);
    const known = this.#slots.find((slot) => slot.identity === identity);
    if (known !== undefined)
      return { open: known.open, count: selectRows(this.#core, known.open, selection) };
    const bytes =
      block.codec === "zstd" ? this.#codec.decompress(block.data, block.encodedBytes) : block.data;
    const batch = this.#spareBatch();
    try {
      const found = this.#decode(bytes, batch, timeField, selection);
      if (found === null) this.#spares.push(batch);
      else this.#slots.push({ identity, open: found.open });
      return found;
    } catch (cause) {
      this.#spares.push(batch);
      throw cause;
    } finally {
      if (bytes !== block.data) release(bytes.buffer);
    }
  }

  #decode(
    bytes: Uint8Array,
    batch: BatchHandle,
    timeField: string,
    selection: RowSelection,
  ): { readonly open: OpenBatch; readonly count: number } | null {
    if (selection.key === null) {
      decodeBlock(this.#core, bytes, batch);
      const open = openBatch(this.#core, batch, timeField, createEventWriter);
      return { open, count: selectRows(this.#core, open, selection) };
    }
    let found: { readonly open: OpenBatch; readonly count: number } | null = null;
    decodeIfNeeded(this.#core, bytes, batch, selection.keyFields, () => {
      const open = openBatch(this.#core, batch, timeField, createEventWriter);
      const count = selectRows(this.#core, open, selection);
      if (count > 0) found = { open, count };
      return count > 0;
    });
    return found;
  }

  #spareBatch(): BatchHandle {
    const oldest = this.#slots.length < KEPT_BLOCKS ? undefined : this.#slots.shift();
    oldest?.open.dispose();
    const batch = oldest?.open.batch ?? this.#spares.pop() ?? newBatch(this.#core);
    resetBatch(this.#core, batch);
    return batch;
  }

  #renew(): void {
    this.#core = instantiateCore();
    this.#page = new EventPage(this.#core);
    this.#slots = [];
    this.#spares = [];
  }
}

/** A seq is given again to what compaction makes of the block, which then has other sizes. */
function identityOf(seq: number, block: StoredBlock, timeField: string): string {
  const { count, encodedBytes, minUs, maxUs, data } = block;
  return `${seq} ${count} ${encodedBytes} ${data.length} ${minUs} ${maxUs} ${timeField}`;
}
