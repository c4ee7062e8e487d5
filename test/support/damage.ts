import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import Database from "better-sqlite3";
import { databaseFile } from "../../workers/store/data-dir.ts";
import { openForWriting } from "../../workers/store/database.ts";
import { Eviction } from "../../workers/store/eviction.ts";
import { prepareStatements } from "../../workers/store/statements.ts";
import { StreamTable } from "../../workers/store/stream-table.ts";
import type { Random } from "./random.ts";

const PAGE_BYTES = 4096;

/** Changes something in the database of a data directory that no process uses. */
export function inDatabase<T>(dir: string, work: (db: Database.Database) => T): T {
  const db = new Database(databaseFile(dir));
  try {
    return work(db);
  } finally {
    db.close();
  }
}

/** One bit of a block's stored bytes is another. `at`: the share of its length. */
export function flipBlockBit(dir: string, seq: number, at = 0.5): void {
  inDatabase(dir, (db) => {
    const row = db.prepare("SELECT data FROM blocks WHERE seq = ?").get(seq) as { data: Buffer };
    const { data } = row;
    const place = Math.min(data.length - 1, Math.floor(data.length * at));
    data[place] = data[place]! ^ 1;
    db.prepare("UPDATE blocks SET data = ? WHERE seq = ?").run(data, seq);
  });
}

export function blockSeqs(dir: string): number[] {
  return inDatabase(dir, (db) => db.prepare("SELECT seq FROM blocks ORDER BY seq").pluck().all() as number[]);
}

/** Random bits of a file are others. @returns the places, in bytes. */
export function flipFileBits(file: string, random: Random, flips: number, fromByte = 0): number[] {
  const bytes = readFileSync(file);
  const places = Array.from({ length: flips }, () => random.integer(fromByte, bytes.length - 1));
  for (const place of places) bytes[place] = bytes[place]! ^ (1 << random.integer(0, 7));
  writeFileSync(file, bytes);
  return places;
}

/** A page of the database, the first is 1, holds nothing that is one. */
export function overwritePage(dir: string, page: number): void {
  const file = databaseFile(dir);
  const bytes = readFileSync(file);
  bytes.fill(0xa5, (page - 1) * PAGE_BYTES, page * PAGE_BYTES);
  writeFileSync(file, bytes);
}

/** What the store says became of a stream's events. */
export interface Balance {
  readonly accepted: number;
  readonly held: number;
  readonly corrupt: number;
}

export function balanceOf(dir: string, stream: string): Balance {
  return inDatabase(
    dir,
    (db) =>
      db
        .prepare(
          "SELECT accepted, (SELECT coalesce(sum(count), 0) FROM blocks WHERE stream_id = s.id) AS held," +
            " (SELECT coalesce(sum(count), 0) FROM losses WHERE stream_id = s.id AND reason = 'corrupt') AS corrupt" +
            " FROM streams s WHERE name = ?",
        )
        .get(stream) as Balance,
  );
}

/** No checkpoint can be used: each has a piece that is rotten, in a base that they share too. Or those that have one of `where`. */
export function rotCheckpoints(dir: string, where = "1"): void {
  inDatabase(dir, (db) => {
    const of = db.prepare(`SELECT segment, number, bytes FROM checkpoint_pieces WHERE ${where}`);
    const pieces = of.all() as {
      segment: number;
      number: number;
      bytes: Buffer;
    }[];
    assert.ok(pieces.length > 0);
    for (const { segment, number, bytes } of pieces) {
      bytes[bytes.length >> 1] = bytes[bytes.length >> 1]! ^ 4;
      db.prepare("UPDATE checkpoint_pieces SET bytes = ? WHERE segment = ? AND number = ?").run(
        bytes,
        segment,
        number,
      );
    }
  });
}

/** As a full buffer does. @returns how many blocks are left */
export function giveUpUpTo(dir: string, seq: number): number {
  const db = openForWriting(dir);
  const sql = prepareStatements(db);
  const eviction = new Eviction(db, sql, new StreamTable(sql), () => undefined);
  const age = { before: Number.POSITIVE_INFINITY, reason: "given-up", nowUs: Date.now() * 1_000 } as const;
  assert.ok(eviction.dropPending([1], seq, age) > 0);
  db.close();
  return blockSeqs(dir).length;
}
