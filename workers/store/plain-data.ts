import { statfsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { isEnvelope } from "../seal/envelope.ts";
import type { KeyRing } from "../seal/key-ring.ts";
import { blockPlace, deadLetterPlace, latePlace } from "../seal/places.ts";
import { sealCorruptBlocks } from "./corrupt-blocks.ts";
import type { Connection } from "./database.ts";
import { sealLookups } from "./plain-lookups.ts";
import { forgetKeptFiles } from "./repair/kept-files.ts";

/** Of one step: so much keeps the storage thread for a few ms. */
const STEP_ROWS = 64;
const STEP_BYTES = 1024 * 1024;
/** A file up to this size is rewritten while the node runs, which keeps commits waiting for a second or so. */
const REWRITTEN_AT_ONCE_BYTES = 64 * 1024 * 1024;
/** Rewriting needs a copy of the file and a log of it beside it. */
const SPACE_TO_REWRITE = 2.2;

/** Rows that are yet to be sealed; or that all are, but the file's unused space, rewritten at the next start, is not clean. */
export type PlainLeft = number | "rewrite";

/** What is sealed while the node runs, in the order of its ids. */
const KINDS = ["blocks", "late", "dead_letters"] as const;
type Kind = (typeof KINDS)[number];
/** Kinds of progress that are not tables. */
const LOOKUPS = "lookups";
const REWRITE = "rewrite";

const ID: Readonly<Record<Kind, string>> = { blocks: "seq", late: "id", dead_letters: "id" };
const ROWS: Readonly<Record<Kind, string>> = {
  blocks: "SELECT seq AS id, stream_id AS streamId, data FROM blocks",
  late: "SELECT id, stream_id AS streamId, source_seq AS sourceSeq, reason, data FROM late",
  dead_letters:
    "SELECT id, stream_id AS streamId, at_us AS atUs, line, path, code, message, text FROM dead_letters",
};

interface Progress {
  readonly kind: string;
  readonly afterId: number;
  readonly lastId: number;
}

interface PlainRow {
  readonly id: number;
  readonly streamId: number;
  readonly sourceSeq: number;
  readonly reason: string;
  readonly data: Buffer;
  readonly atUs: number;
  readonly line: number;
  readonly path: string;
  readonly code: string;
  readonly message: string;
  readonly text: string;
}

/**
 * Seals what was stored before there was a key. Rows that are looked up by their texts come first, while the store is
 * opened; blocks, late events and dead letters follow in small steps beside the node's work, each a transaction that also
 * says how far it came. SQLite leaves old copies in unused parts of pages, even with secure_delete, so in the end the whole
 * file is written anew.
 */
export class PlainData {
  readonly #db: Connection;
  readonly #keys: KeyRing;

  constructor(db: Connection, keys: KeyRing) {
    this.#db = db;
    this.#keys = keys;
  }

  /** Notes what is to be sealed, with the store's first keys in one transaction: neither is ever there without the other. */
  begin(): void {
    const { n } = this.#db.prepare("SELECT count(*) AS n FROM seal_keys").get() as { n: number };
    if (n === 0) {
      this.#db
        .transaction(() => {
          const { streams } = this.#db.prepare("SELECT count(*) AS streams FROM streams").get() as {
            streams: number;
          };
          if (streams > 0) this.#note();
          this.#keys.prepare();
        })
        .immediate();
      if (!this.#progress().some(({ kind }) => kind === REWRITE)) forgetKeptFiles(this.#db.name);
    }
  }

  /** Seals rows that are looked up by texts: some 100,000 a second. */
  sealLookups(): void {
    if (!this.#progress().some(({ kind }) => kind === LOOKUPS)) return;
    sealLookups(this.#db, this.#keys);
    this.#keys.prepare();
    this.#db.transaction(() => sealCorruptBlocks(this.#db, this.#keys)).immediate();
    this.#finish(LOOKUPS);
  }

  /** One step of sealing rows or of rewriting a file that is small. @returns what is left */
  step(): PlainLeft {
    const next = this.#progress().find(({ kind }) => isKind(kind));
    if (next !== undefined) this.#sealSome(next.kind as Kind, next);
    if (this.#bytes() <= REWRITTEN_AT_ONCE_BYTES) this.rewrite();
    return this.left();
  }

  left(): PlainLeft {
    const progress = this.#progress();
    if (progress.length === 0) return 0;
    const rows = progress.reduce((sum, { kind, afterId, lastId }) => {
      if (!isKind(kind)) return sum;
      const count = `SELECT count(*) AS n FROM ${kind} WHERE ${ID[kind]} > ? AND ${ID[kind]} <= ?`;
      return sum + (this.#db.prepare(count).get(afterId, lastId) as { n: number }).n;
    }, 0);
    return rows === 0 ? "rewrite" : rows;
  }

  /** Writes the file anew once all rows are sealed, where its disk has the space. Does nothing when it is not due. */
  rewrite(): void {
    const progress = this.#progress();
    if (progress.length === 0 || progress.some(({ kind }) => kind !== REWRITE)) return;
    const { bavail, bsize } = statfsSync(dirname(this.#db.name));
    if (bavail * bsize < this.#bytes() * SPACE_TO_REWRITE) return;
    // Beside the file, where the space was looked for, and not in a /tmp that may be memory.
    this.#db.pragma(`temp_store_directory = '${dirname(resolve(this.#db.name)).replaceAll("'", "''")}'`);
    this.#db.exec("VACUUM");
    // What stood in the log before goes with it.
    this.#db.pragma("wal_checkpoint(TRUNCATE)");
    // Damaged files that were kept are as they were found: in the plain.
    forgetKeptFiles(this.#db.name);
    this.#finish(REWRITE);
  }

  #bytes(): number {
    const [pages, pageBytes] = ["page_count", "page_size"].map((name) =>
      Number(this.#db.pragma(name, { simple: true })),
    ) as [number, number];
    return pages * pageBytes;
  }

  #sealSome(kind: Kind, { afterId, lastId }: Progress): void {
    const rows = this.#db.prepare(
      `${ROWS[kind]} WHERE ${ID[kind]} > ? AND ${ID[kind]} <= ? ORDER BY ${ID[kind]} LIMIT ${STEP_ROWS}`,
    );
    this.#keys.prepare();
    this.#db
      .transaction(() => {
        let bytes = 0;
        let reached = lastId;
        const some: PlainRow[] = [];
        for (const row of rows.iterate(afterId, lastId) as IterableIterator<PlainRow>) {
          some.push(row);
          bytes += row.data?.length ?? row.text.length;
          if (bytes >= STEP_BYTES) break;
        }
        for (const row of some) this.#sealRow(kind, row);
        if (some.length === STEP_ROWS || bytes >= STEP_BYTES) reached = some.at(-1)!.id;
        if (reached >= lastId) this.#finish(kind);
        else this.#db.prepare("UPDATE seal_progress SET after_id = ? WHERE kind = ?").run(reached, kind);
      })
      .immediate();
  }

  /** A row that is sealed already, such as a block that was merged meanwhile, stays as it is. */
  #sealRow(kind: Kind, row: PlainRow): void {
    const { id, streamId } = row;
    if (kind === "dead_letters") {
      if (typeof row.text !== "string") return;
      const { atUs, line, path, code, message, text } = row;
      const place = deadLetterPlace(streamId, atUs, line, code);
      const sealed = this.#keys.text(place, JSON.stringify([path, message, text]));
      this.#db
        .prepare("UPDATE dead_letters SET path = '', message = '', text = ? WHERE id = ?")
        .run(sealed, id);
      return;
    }
    if (isEnvelope(row.data)) return;
    const place =
      kind === "blocks" ? blockPlace(streamId, id) : latePlace(streamId, row.sourceSeq, row.reason);
    const sealed = this.#keys.bytes(place, row.data);
    if (kind === "late") this.#db.prepare("UPDATE late SET data = ? WHERE id = ?").run(sealed, id);
    // Sums are made of the block again when they are wanted.
    else this.#db.prepare("UPDATE blocks SET data = ?, sums = NULL WHERE seq = ?").run(sealed, id);
  }

  #note(): void {
    const note = this.#db.prepare("INSERT INTO seal_progress (kind, after_id, last_id) VALUES (?, ?, ?)");
    note.run(LOOKUPS, 0, 0);
    for (const kind of KINDS) {
      const { last } = this.#db.prepare(`SELECT max(${ID[kind]}) AS last FROM ${kind}`).get() as {
        last: number | null;
      };
      if (last !== null) note.run(kind, 0, last);
    }
    note.run(REWRITE, 0, 0);
  }

  #finish(kind: string): void {
    this.#db.prepare("DELETE FROM seal_progress WHERE kind = ?").run(kind);
  }

  #progress(): Progress[] {
    const all = "SELECT kind, after_id AS afterId, last_id AS lastId FROM seal_progress";
    return this.#db.prepare(all).all() as Progress[];
  }
}

function isKind(kind: string): kind is Kind {
  return (KINDS as readonly string[]).includes(kind);
}
