import { MillraceError } from "../../../workers/errors.ts";
import type { HubRecord, RecordWrite } from "../../../workers/hub/records.ts";
import { digestOfDocument } from "../../config/config-signature.ts";
import type { RecordStore } from "../record-store.ts";
import {
  type ConfigReport,
  documentName,
  type EdgeRecord,
  EMPTY_EDGE,
  EMPTY_SCOPE,
  etagOf,
  KINDS,
  type Rollout,
  type ScopeRecord,
  type VersionNote,
} from "./config-records.ts";
import {
  abortRollout,
  advanceRollout,
  beginRollout,
  type ReportOf,
  type RolloutPlan,
  resumeRollout,
} from "./rollout.ts";

/** Two hubs, or two requests, that write the same at once: tries before one gives up. */
const MAX_TRIES = 20;
/** Notes kept of a scope; documents of older ones are removed with them. */
const KEPT_VERSIONS = 1_000;

export interface WantedVersion {
  readonly scope: string;
  readonly note: VersionNote;
  readonly etag: string;
}

export interface EdgeOverview {
  readonly edge: EdgeRecord;
  readonly wanted: WantedVersion | null;
}

export interface ConfigPut {
  readonly document: string;
  /** null: the hub counts. */
  readonly version: number | null;
  readonly signature: string | null;
  readonly by: string | null;
  readonly address: string | null;
  /** null: in force for all at once. */
  readonly rollout: RolloutPlan | null;
}

export type PutOutcome =
  | {
      readonly kind: "put";
      readonly note: VersionNote;
      readonly etag: string;
      readonly rollout: Rollout | null;
    }
  | { readonly kind: "not-newer"; readonly newest: number }
  | { readonly kind: "rolling-out"; readonly version: number };

interface Loaded<T> {
  readonly value: T;
  readonly revision: number;
}

/** The configurations of a fleet: of edges and of groups, every version, and what edges made of them. */
export class ConfigRegistry {
  readonly #store: RecordStore;
  readonly #nowUs: () => number;

  constructor(store: RecordStore, nowUs: () => number) {
    this.#store = store;
    this.#nowUs = nowUs;
  }

  /** What an edge is to have: its own, else its group's; null: nothing is held for it. */
  async wanted(edge: string): Promise<WantedVersion | null> {
    const own = await this.scope(`edge:${edge}`);
    const { group } = await this.edge(edge);
    const ofGroup = group === null ? undefined : await this.scope(`group:${group}`);
    return wantedBy(edge, own, group, ofGroup);
  }

  /** As `wanted`, of several at once: every scope and edge is read once. */
  async overview(names: readonly string[]): Promise<ReadonlyMap<string, EdgeOverview>> {
    const [scopes, edges] = await Promise.all([this.scopes(), this.edges()]);
    return new Map(
      names.map((name) => {
        const edge = edges.get(name) ?? EMPTY_EDGE;
        const own = scopes.get(`edge:${name}`) ?? EMPTY_SCOPE;
        return [name, { edge, wanted: wantedBy(name, own, edge.group, scopes.get(`group:${edge.group}`)) }];
      }),
    );
  }

  async document(scope: string, version: number): Promise<string | null> {
    return (await this.#store.readRecord(KINDS.document, documentName(scope, version)))?.body ?? null;
  }

  async scope(name: string): Promise<ScopeRecord> {
    return (await this.#load(KINDS.scope, name, EMPTY_SCOPE)).value;
  }

  async edge(name: string): Promise<EdgeRecord> {
    return (await this.#load(KINDS.edge, name, EMPTY_EDGE)).value;
  }

  /** Every scope there is, by name. */
  async scopes(): Promise<ReadonlyMap<string, ScopeRecord>> {
    return new Map((await this.#store.listRecords(KINDS.scope)).map(parsed<ScopeRecord>));
  }

  /** Every edge of which something is known here. */
  async edges(): Promise<ReadonlyMap<string, EdgeRecord>> {
    return new Map((await this.#store.listRecords(KINDS.edge)).map(parsed<EdgeRecord>));
  }

  async membersOf(group: string): Promise<string[]> {
    return [...(await this.edges())].filter(([, edge]) => edge.group === group).map(([name]) => name);
  }

  put(scope: string, put: ConfigPut): Promise<PutOutcome> {
    return this.#retry(async () => {
      const { value, revision } = await this.#load(KINDS.scope, scope, EMPTY_SCOPE);
      const { rollout } = value;
      if (rollout !== null && (rollout.state === "running" || rollout.state === "halted"))
        return { kind: "rolling-out", version: rollout.version };
      const newest = value.versions.at(-1)?.version ?? 0;
      const version = put.version ?? newest + 1;
      if (version <= newest) return { kind: "not-newer", newest };
      const nowUs = this.#nowUs();
      const { document, signature, by, address } = put;
      const note: VersionNote = {
        version,
        digest: digestOfDocument(document),
        signature,
        atUs: nowUs,
        by,
        address,
      };
      const begun =
        put.rollout === null
          ? null
          : beginRollout(put.rollout, version, value.current, await this.#membersOfScope(scope), nowUs);
      const versions = [...value.versions, note];
      const next: ScopeRecord = {
        versions: versions.slice(-KEPT_VERSIONS),
        current: begun === null ? version : value.current,
        rollout: begun,
      };
      const gone = versions.slice(0, -KEPT_VERSIONS);
      const isWritten = await this.#store.writeRecords([
        write(KINDS.scope, scope, revision, next),
        { kind: KINDS.document, name: documentName(scope, version), revision: 0, body: document },
        ...gone.map((old) => {
          return { kind: KINDS.document, name: documentName(scope, old.version), revision: 1, body: null };
        }),
      ]);
      return isWritten ? { kind: "put", note, etag: etagOf(scope, note), rollout: begun } : null;
    });
  }

  /** An edge's own gives way to its group's. @returns whether there was one. */
  removeOwn(edge: string): Promise<boolean> {
    return this.#retry(async () => {
      const name = `edge:${edge}`;
      const { value, revision } = await this.#load(KINDS.scope, name, EMPTY_SCOPE);
      if (value.current === null) return false;
      const next = { ...value, current: null };
      return (await this.#store.writeRecords([write(KINDS.scope, name, revision, next)])) ? true : null;
    });
  }

  /** Makes these, and no others, the edges of a group; they leave those that they were in. */
  setMembers(group: string, members: readonly string[]): Promise<void> {
    return this.#retry(async () => {
      const edges = await this.#store.listRecords(KINDS.edge);
      const known = new Map(edges.map((record) => [record.name, record]));
      const writes = [...new Set([...known.keys(), ...members])].flatMap((name): RecordWrite[] => {
        const record = known.get(name);
        const before = record === undefined ? EMPTY_EDGE : (JSON.parse(record.body) as EdgeRecord);
        const isMember = members.includes(name);
        const after = isMember ? group : before.group === group ? null : before.group;
        if (after === before.group) return [];
        return [write(KINDS.edge, name, record?.revision ?? 0, { ...before, group: after })];
      });
      const { value, revision } = await this.#load(KINDS.scope, `group:${group}`, EMPTY_SCOPE);
      // So that a group without a configuration is listed, too.
      if (revision === 0) writes.push(write(KINDS.scope, `group:${group}`, 0, value));
      return (await this.#store.writeRecords(writes)) ? true : null;
    }).then(() => undefined);
  }

  /** Keeps what an edge says. One that is older than what is kept changes nothing. */
  async report(edge: string, report: ConfigReport): Promise<void> {
    await this.#retry(async () => {
      const { value, revision } = await this.#load(KINDS.edge, edge, EMPTY_EDGE);
      if (value.report !== null && value.report.atUs > report.atUs) return true;
      const next = { ...value, report };
      return (await this.#store.writeRecords([write(KINDS.edge, edge, revision, next)])) ? true : null;
    });
    const { group } = await this.edge(edge);
    if (group !== null) await this.advance(`group:${group}`);
  }

  /** Takes the rollout of a scope a step further, or halts it, if it is time. */
  advance(scope: string): Promise<ScopeRecord> {
    return this.#change(scope, (value, members, reportOf) => {
      if (value.rollout === null) return value;
      const rollout = advanceRollout(value.rollout, members, reportOf, this.#nowUs());
      if (rollout === value.rollout) return value;
      return { ...value, rollout, current: rollout.state === "done" ? rollout.version : value.current };
    });
  }

  resume(scope: string): Promise<ScopeRecord> {
    return this.#change(scope, (value, _, reportOf) => {
      if (value.rollout?.state !== "halted") return value;
      return { ...value, rollout: resumeRollout(value.rollout, reportOf, this.#nowUs()) };
    });
  }

  abort(scope: string): Promise<ScopeRecord> {
    return this.#change(scope, (value, _, reportOf) => {
      const { rollout, versions } = value;
      if (rollout === null || (rollout.state !== "running" && rollout.state !== "halted")) return value;
      const isSigned = versions.some(
        ({ version, signature }) => version === rollout.version && signature !== null,
      );
      return { ...value, rollout: abortRollout(rollout, isSigned, reportOf) };
    });
  }

  async #membersOfScope(scope: string): Promise<string[]> {
    const [kind, name = ""] = scope.split(":", 2);
    return kind === "group" ? this.membersOf(name) : [name];
  }

  #change(
    scope: string,
    next: (value: ScopeRecord, members: readonly string[], reportOf: ReportOf) => ScopeRecord,
  ): Promise<ScopeRecord> {
    return this.#retry(async () => {
      const { value, revision } = await this.#load(KINDS.scope, scope, EMPTY_SCOPE);
      if (value.rollout === null) return value;
      const edges = await this.edges();
      const group = scope.slice("group:".length);
      const members = [...edges].filter(([, edge]) => edge.group === group).map(([name]) => name);
      const reportOf = (name: string): ConfigReport | null => {
        const report = edges.get(name)?.report ?? null;
        return report?.scope === scope ? report : null;
      };
      const changed = next(value, members, reportOf);
      if (changed === value) return value;
      return (await this.#store.writeRecords([write(KINDS.scope, scope, revision, changed)]))
        ? changed
        : null;
    });
  }

  async #load<T>(kind: string, name: string, empty: T): Promise<Loaded<T>> {
    const record = await this.#store.readRecord(kind, name);
    if (record === null) return { value: empty, revision: 0 };
    return { value: JSON.parse(record.body) as T, revision: record.revision };
  }

  /** Until nobody wrote in between: `attempt` gives null when somebody did. */
  async #retry<T>(attempt: () => Promise<T | null>): Promise<T> {
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const result = await attempt();
      if (result !== null) return result;
    }
    throw new MillraceError("E_STORE_BUSY", "the configuration is being changed by others; try again");
  }
}

function wantedBy(
  edge: string,
  own: ScopeRecord,
  group: string | null,
  scope: ScopeRecord | undefined,
): WantedVersion | null {
  if (own.current !== null) return wantedOf(`edge:${edge}`, own, own.current);
  if (group === null || scope === undefined) return null;
  const { rollout } = scope;
  const isOffered = rollout !== null && rollout.state !== "done" && rollout.offered.includes(edge);
  return wantedOf(`group:${group}`, scope, isOffered ? rollout.version : scope.current);
}

function wantedOf(scope: string, { versions }: ScopeRecord, version: number | null): WantedVersion | null {
  const note = versions.find((one) => one.version === version);
  return note === undefined ? null : { scope, note, etag: etagOf(scope, note) };
}

function parsed<T>({ name, body }: HubRecord): readonly [string, T] {
  return [name, JSON.parse(body) as T];
}

function write(kind: string, name: string, revision: number, value: object): RecordWrite {
  return { kind, name, revision, body: JSON.stringify(value) };
}
