import type { Statement } from "better-sqlite3";
import { documentPlace } from "../seal/places.ts";
import type { Seal } from "../seal/seal.ts";
import type { Connection } from "./database.ts";

/** A text that the node keeps beside its log. `version` is 1 more with each write. */
export interface NodeDocument {
  readonly kind: DocumentKind;
  readonly name: string;
  readonly version: number;
  readonly body: string;
}

/** What the hub says to an edge behind this one, what that edge says of it, and what this node has made of its own. */
export type DocumentKind = "relayed-config" | "relayed-report" | "remote-config";

type Row = Omit<NodeDocument, "body"> & { readonly body: string | Uint8Array };

const COLUMNS = "SELECT kind, name, version, body FROM node_documents";

/** Documents by kind and name, the last word of each. Each method is one transaction. */
export class DocumentStore {
  readonly #db: Connection;
  readonly #seal: Seal;
  readonly #read: Statement<unknown[]>;
  readonly #list: Statement<unknown[]>;
  readonly #put: Statement<unknown[]>;
  readonly #drop: Statement<unknown[]>;

  constructor(db: Connection, seal: Seal) {
    this.#db = db;
    this.#seal = seal;
    this.#read = db.prepare(`${COLUMNS} WHERE kind = ? AND name = ?`);
    this.#list = db.prepare(`${COLUMNS} WHERE kind = ? ORDER BY name`);
    this.#put = db.prepare(
      "INSERT INTO node_documents (kind, name, version, body) VALUES (?, ?, 1, ?) ON CONFLICT DO UPDATE" +
        " SET body = excluded.body, version = version + 1",
    );
    this.#drop = db.prepare("DELETE FROM node_documents WHERE kind = ? AND name = ? AND version = ?");
  }

  /** Seals what was written before there was a key. */
  open(): void {
    if (!this.#seal.isOn) return;
    this.#seal.prepare();
    this.#db.transaction(() => {
      const plain = this.#db.prepare(`${COLUMNS} WHERE typeof(body) = 'text'`).all() as NodeDocument[];
      for (const { kind, name, body } of plain) this.#write(kind, name, body);
    })();
  }

  read(kind: DocumentKind, name: string): NodeDocument | null {
    const row = this.#read.get(kind, name) as Row | undefined;
    return row === undefined ? null : this.#opened(row);
  }

  list(kind: DocumentKind): NodeDocument[] {
    return (this.#list.all(kind) as Row[]).map((row) => this.#opened(row));
  }

  put({ kind, name, body }: Omit<NodeDocument, "version">): void {
    this.#seal.prepare();
    this.#write(kind, name, body);
  }

  /** Unless there is another by now. */
  drop({ kind, name, version }: Omit<NodeDocument, "body">): void {
    this.#drop.run(kind, name, version);
  }

  #write(kind: DocumentKind, name: string, body: string): void {
    this.#put.run(kind, name, this.#seal.text(documentPlace(kind, name), body));
  }

  #opened(row: Row): NodeDocument {
    return { ...row, body: this.#seal.openText(documentPlace(row.kind, row.name), row.body) };
  }
}
